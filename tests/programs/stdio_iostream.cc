// C++'s standard streams on a connection, in step with stdio and, as `stdio_iostream unsynced`, with buffers of their
// own; a static object writes at the end. Echoes lines by cin and cout in a child; the parent reads without streams.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(bool condition, const char *what)
{
    if (condition)
        return;
    dprintf(9, "stdio_iostream: %s\n", what);
    _exit(1);
}

static bool in_child;

struct last_words {
    ~last_words()
    {
        if (in_child)
            std::cout << "[a static object]";
    }
} last_words;

static void echo()
{
    std::string line;
    int number;
    while (std::getline(std::cin, line) && line != "numbers")
        std::cout << "line " << line << std::endl;
    std::cin >> number;
    std::cout << number + 1 << '\n' << std::flush;
    std::printf("by printf\n");
    std::fflush(stdout);
    std::cerr << "by cerr\n";
    std::clog << "by clog\n" << std::flush;
    std::cin.ignore();
    check(!std::getline(std::cin, line) && std::cin.eof(), "no end");
    std::cout << "buffered";
}

static void pair(int end[2])
{
    struct sockaddr_in a = {};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    end[0] = socket(AF_INET, SOCK_STREAM, 0);
    check(!bind(listener, (sockaddr *)&a, len) && !listen(listener, 1), "listen");
    check(!getsockname(listener, (sockaddr *)&a, &len) && !connect(end[0], (sockaddr *)&a, len), "connect");
    check((end[1] = accept(listener, nullptr, nullptr)) >= 0, "accept");
    close(listener);
}

static std::string read_all(int fd)
{
    std::string all;
    char part[1000];
    ssize_t n;
    while ((n = read(fd, part, sizeof part)) > 0)
        all.append(part, static_cast<size_t>(n));
    check(n == 0, "the stream broke");
    return all;
}

int main(int argc, char **)
{
    static const char in[] = "one\ntwo\nnumbers\n41\n";
    static const char out[] = "line one\nline two\n42\nby printf\nby cerr\nby clog\nbuffered[a static object]";
    int end[2], status;
    dup2(2, 9);
    alarm(60);
    if (argc > 1)
        std::ios::sync_with_stdio(false);
    pair(end);
    pid_t pid = fork();
    if (pid == 0) {
        in_child = true;
        for (int number = 0; number < 3; number++)
            dup2(end[0], number);
        close(end[0]);
        close(end[1]);
        echo();
        return 0;
    }
    close(end[0]);
    check(write(end[1], in, sizeof in - 1) == sizeof in - 1, "write");
    shutdown(end[1], SHUT_WR);
    std::string got = read_all(end[1]);
    check(waitpid(pid, &status, 0) == pid && status == 0, "the child failed");
    check(got == out, got.c_str());
    return 0;
}
