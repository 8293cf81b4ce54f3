/* base/uv/unix_path.c - unix socket files: names, stale ones, modes. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/uv/stream_internal.h"

int env_uv__unix_addr(const struct env_endpoint *at, struct sockaddr_un *out, unsigned *len,
                      struct cyx_err *err)
{
    size_t n = strnlen(at->path, sizeof at->path);
    if (n == 0 || n == sizeof at->path || (at->path[0] == '@' && n == 1))
        return cyx_fail(err, CYX_EINVAL, "socket path %.40s%s: want 1 to %zu bytes", at->path,
                        n > 40 ? "..." : "", sizeof at->path - 1);
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, at->path, n);
    if (at->path[0] == '@') {
        out->sun_path[0] = '\0'; /* abstract: all bytes count, no NUL at the end */
        *len = (unsigned)(offsetof(struct sockaddr_un, sun_path) + n);
    } else {
        *len = (unsigned)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    }
    return 0;
}

int env_uv__unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

enum in_use { USE_LIVE, USE_STALE, USE_FOREIGN };

/* Who holds the name? Only a socket that refuses connections may be taken away. */
static enum in_use look(const struct env_endpoint *at, const struct sockaddr_un *sa, unsigned len)
{
    struct stat st;
    if (at->path[0] == '@')
        return USE_LIVE; /* the kernel drops abstract names with their last holder */
    if (lstat(at->path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return USE_FOREIGN;
    cleanup_close int fd = env_uv__unix_socket();
    if (fd < 0)
        return USE_LIVE; /* can't tell: don't touch it */
    if (connect(fd, (const struct sockaddr *)sa, len) < 0 && errno == ECONNREFUSED)
        return USE_STALE;
    return USE_LIVE;
}

int env_uv__unix_bind(int fd, const struct env_endpoint *at, struct cyx_err *err)
{
    struct sockaddr_un sa;
    unsigned len = 0;
    char why[64];
    if (env_uv__unix_addr(at, &sa, &len, err) < 0)
        return CYX_EINVAL;
    int rc = bind(fd, (const struct sockaddr *)&sa, len);
    if (rc < 0 && errno == EADDRINUSE) {
        enum in_use use = look(at, &sa, len);
        if (use == USE_LIVE)
            return cyx_fail(err, CYX_EBUSY, "%s: another process listens there", at->path);
        if (use == USE_FOREIGN)
            return cyx_fail(err, CYX_EEXIST, "%s exists and is not a socket: move it away",
                            at->path);
        if (unlink(at->path) < 0 && errno != ENOENT)
            return cyx_fail(err, env_uv__code(errno), "remove the stale socket %s: %s", at->path,
                            env_uv__why(errno, why));
        rc = bind(fd, (const struct sockaddr *)&sa, len);
    }
    if (rc < 0)
        return cyx_fail(err, env_uv__code(errno), "bind %s: %s", at->path, env_uv__why(errno, why));
    /* Nobody can connect before listen(): whatever the umask was, the mode is right by then. */
    if (at->path[0] != '@' && chmod(at->path, at->mode != 0 ? at->mode : 0600) < 0)
        return cyx_fail(err, env_uv__code(errno), "chmod %s: %s", at->path,
                        env_uv__why(errno, why));
    return 0;
}
