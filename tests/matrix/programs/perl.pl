# perl.pl server: an HTTP server that forks for each connection and gives back what it is sent, by Perl's buffered
# input and output. perl.pl post URL FILE: posts a file by HTTP::Tiny, prints the answer.
use strict;
use warnings;
use IO::Socket::INET;
use HTTP::Tiny;

my ($what, $url, $file) = @ARGV;
$| = 1;

sub serve {
    my $connection = shift;
    binmode $connection;
    my $length = 0;
    while (my $line = <$connection>) {
        $length = $1 if $line =~ /^content-length: *(\d+)/i;
        last if $line =~ /^\r?\n$/;
    }
    my $body = '';
    while (length $body < $length) {
        read($connection, $body, $length - length $body, length $body) or die "cut off";
    }
    print $connection "HTTP/1.1 200 OK\r\nContent-Length: $length\r\nConnection: close\r\n\r\n$body";
    close $connection or die "close: $!";
}

if ($what eq 'server') {
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 20) or die $!;
    $SIG{CHLD} = 'IGNORE';
    print 'port ', $listener->sockport, "\n";
    while (1) {
        my $connection = $listener->accept or next;
        my $child = fork // die $!;
        if (!$child) {
            serve($connection);
            exit 0;
        }
        close $connection;
    }
}
open my $input, '<:raw', $file or die $!;
my $answer = HTTP::Tiny->new->post($url, { content => do { local $/; <$input> } });
die "$answer->{status}: $answer->{content}" unless $answer->{success};
binmode STDOUT;
print $answer->{content};
