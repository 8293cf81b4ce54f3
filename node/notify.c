#include "node/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int notify_fd = -1; /* one process has one manager */

void node_notify_open(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t n = path != NULL ? strlen(path) : 0;
    if (n < 2 || n >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, n);
    if (path[0] == '@')
        to.sun_path[0] = '\0'; /* abstract */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, len) != 0) {
        close(fd);
        fd = -1;
    }
    notify_fd = fd;
}

void node_notify_close(void)
{
    if (notify_fd >= 0)
        close(notify_fd);
    notify_fd = -1;
}

void node_notify(const char *words)
{
    if (notify_fd >= 0)
        (void)send(notify_fd, words, strlen(words), MSG_NOSIGNAL | MSG_DONTWAIT);
}

uint64_t node_notify_watchdog_ms(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (us == NULL || notify_fd < 0 || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    return strtoull(us, NULL, 10) / 2000; /* twice as often as asked */
}

bool node_notify_is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    uintmax_t dev = 0, ino = 0;
    struct stat st;
    if (stream == NULL || sscanf(stream, "%ju:%ju", &dev, &ino) != 2 || fstat(fd, &st) != 0)
        return false;
    return st.st_dev == dev && st.st_ino == ino;
}
