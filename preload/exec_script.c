/* The first line of a script. A file of its own, since the tool links it too (tools/tool/). */
#include "exec_image.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool exec_image_interpreter(const char *path, char name[static EXEC_IMAGE_SCRIPT_HEAD])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, name, EXEC_IMAGE_SCRIPT_HEAD - 1);
    if (fd >= 0)
        close(fd);
    if (n < 2 || name[0] != '#' || name[1] != '!')
        return false;
    name[n] = 0;
    char *begin = name + 2 + strspn(name + 2, " \t");
    size_t len = strcspn(begin, " \t\n");
    memmove(name, begin, len);
    name[len] = 0;
    return len > 0;
}
