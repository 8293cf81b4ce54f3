#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/run/run.h"

int console_send(const char *path, int master, struct cyx_err *err)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    char control[CMSG_SPACE(sizeof(int))] = { 0 };
    char name[] = "/dev/ptmx";
    struct iovec iov = { name, sizeof name };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    if (strlen(path) >= sizeof to.sun_path)
        return cyx_fail(err, CYX_EINVAL, "console socket: path too long");
    memcpy(to.sun_path, path, strlen(path));
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        return cyx_fail(err, CYX_EIO, "console socket %s: %s", path, strerror(errno));
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &master, sizeof master);
    return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0
               ? cyx_fail(err, CYX_EIO, "console socket %s: %s", path, strerror(errno))
               : 0;
}

/* Returns false at the end of `from`. */
static bool carry(int from, int to)
{
    char buf[8192];
    ssize_t n = read(from, buf, sizeof buf);
    if (n <= 0)
        return n < 0 && (errno == EINTR || errno == EAGAIN);
    for (ssize_t at = 0; at < n;) {
        ssize_t put = write(to, buf + at, (size_t)(n - at));
        if (put < 0 && errno != EINTR)
            return false;
        at += put > 0 ? put : 0;
    }
    return true;
}

static void copy_size(int master)
{
    struct winsize w;
    if (ioctl(0, TIOCGWINSZ, &w) == 0)
        (void)ioctl(master, TIOCSWINSZ, &w);
}

void console_carry(int master, int pidfd)
{
    struct termios old, raw;
    bool is_tty = tcgetattr(0, &old) == 0;
    struct pollfd fds[3] = { { .fd = master, .events = POLLIN },
                             { .fd = pidfd, .events = POLLIN },
                             { .fd = 0, .events = POLLIN } };
    if (is_tty) {
        raw = old;
        cfmakeraw(&raw);
        tcsetattr(0, TCSANOW, &raw);
        copy_size(master);
    }
    for (;;) {
        if (poll(fds, 3, -1) < 0 && errno != EINTR)
            break;
        if (fds[2].revents != 0 && !carry(0, master))
            fds[2].fd = -1;
        if (fds[0].revents != 0) {
            if (!carry(master, 1))
                break; /* every slave is closed */
        } else if (fds[1].revents != 0) {
            break; /* ended, and all it said was carried */
        }
    }
    if (is_tty)
        tcsetattr(0, TCSANOW, &old);
}

int exit_status(const struct iso_exit *end)
{
    switch (end->end) {
    case ISO_END_EXIT:
        return end->code;
    case ISO_END_SIGNAL:
    case ISO_END_OOM:
        return 128 + end->code;
    case ISO_END_UNKNOWN:
        break;
    }
    return 255;
}
