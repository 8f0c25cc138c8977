/* Connects to 127.0.0.1:9 and prints what became of it, and who this process is: "deny" for EACCES, else "plain". */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int r = connect(fd, (struct sockaddr *)&to, sizeof to);
    printf("%s secure=%lu root=%d\n", r < 0 && errno == EACCES ? "deny" : "plain", getauxval(AT_SECURE),
           geteuid() == 0);
    return close(fd) != 0;
}
