# ruby.rb server: an HTTP server with a thread for each connection that gives back what it is sent. ruby.rb post URL FILE:
# posts a file by Net::HTTP, prints the answer.
require 'net/http'
require 'socket'

def serve(connection)
  length = 0
  while (line = connection.gets)
    length = Regexp.last_match(1).to_i if line =~ /^content-length: *(\d+)/i
    break if line.strip.empty?
  end
  body = connection.read(length)
  connection.write("HTTP/1.1 200 OK\r\nContent-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n", body)
ensure
  connection.close
end

$stdout.sync = true
if ARGV[0] == 'server'
  listener = TCPServer.new('127.0.0.1', 0)
  puts "port #{listener.addr[1]}"
  loop { Thread.new(listener.accept) { |connection| serve(connection) } }
end
answer = Net::HTTP.post(URI(ARGV[1]), File.binread(ARGV[2]), 'Content-Type' => 'application/octet-stream')
raise answer.code unless answer.code == '200'
$stdout.binmode
print answer.body
