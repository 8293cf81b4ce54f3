/* base/uv/trail.c - files that outlive the program but not the machine: a write that has returned
 * is in the page cache, which the kernel keeps whatever becomes of us. What a crash of the machine
 * would leave of them is anybody's guess, so each begins with the machine's boot id, and one of
 * another boot is none. Layout: "cyxtrail", the boot id (36 characters), the bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/uv/env_uv_internal.h"

enum { MAGIC = 8, HEAD = MAGIC + ENV_UV_BOOT_ID };

static const char magic[MAGIC + 1] = "cyxtrail";

struct env_trail {
    int fd;
    off_t len; /* 0: broken, nothing can be added */
};

void env_uv__boot_id_read(struct env_uv *e)
{
    cleanup_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    e->has_boot_id = fd >= 0 && read(fd, e->boot_id, ENV_UV_BOOT_ID) == ENV_UV_BOOT_ID;
}

static int read_all(int fd, uint8_t *buf, size_t cap, size_t *len)
{
    size_t got = 0;
    while (got < cap) {
        ssize_t n = read(fd, buf + got, cap - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return CYX_EIO;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    *len = got;
    return 0;
}

/* Of this boot of the machine? The file is left behind its head. */
static bool head_is_ours(const struct env_uv *e, int fd)
{
    uint8_t head[HEAD];
    size_t len = 0;
    return e->has_boot_id && read_all(fd, head, sizeof head, &len) == 0 && len == sizeof head &&
           memcmp(head, magic, MAGIC) == 0 && memcmp(head + MAGIC, e->boot_id, ENV_UV_BOOT_ID) == 0;
}

static int open_file(const struct env_uv *e, const char *name, int flags)
{
    return openat(e->dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
}

int env_uv__trail_load(struct env *base, const char *name, uint8_t *buf, size_t cap, size_t *len)
{
    const struct env_uv *e = env_uv_of(base);
    struct stat st;
    if (e->dir == NULL || !env_uv__name_ok(name, true))
        return CYX_ENOENT;
    cleanup_close int fd = open_file(e, name, O_RDONLY);
    if (fd < 0 || env_uv__file_check(fd, e->dir, name, NULL) < 0 || !head_is_ours(e, fd))
        return CYX_ENOENT;
    if (fstat(fd, &st) < 0)
        return CYX_EIO;
    *len = (size_t)st.st_size - HEAD;
    return *len > cap ? CYX_EFULL : read_all(fd, buf, cap, len);
}

/* Whole, or the file is as it was. */
static int append(struct env_trail *t, const void *data, size_t len)
{
    ssize_t n = pwrite(t->fd, data, len, t->len);
    if (n == (ssize_t)len) {
        t->len += n;
        return 0;
    }
    int code = n < 0 ? env_uv__code(errno) : CYX_ENOSPC;
    if (n > 0 && ftruncate(t->fd, t->len) < 0)
        t->len = 0;
    return code;
}

static int begin(const struct env_uv *e, struct env_trail *t, bool is_anew)
{
    uint8_t head[HEAD];
    struct stat st;
    if (!is_anew && head_is_ours(e, t->fd) && fstat(t->fd, &st) == 0) {
        t->len = st.st_size;
        return 0;
    }
    memcpy(head, magic, MAGIC);
    memcpy(head + MAGIC, e->boot_id, ENV_UV_BOOT_ID);
    return ftruncate(t->fd, 0) < 0 ? env_uv__code(errno) : append(t, head, sizeof head);
}

int env_uv__trail_open(struct env *base, const char *name, bool is_anew, struct env_trail **out)
{
    const struct env_uv *e = env_uv_of(base);
    if (e->dir == NULL || !e->has_boot_id)
        return CYX_EUNSUPPORTED;
    if (!env_uv__name_ok(name, true))
        return CYX_EINVAL;
    struct env_trail *t = calloc(1, sizeof *t);
    if (t == NULL)
        return CYX_ENOMEM;
    t->fd = open_file(e, name, O_RDWR | O_CREAT);
    int code = t->fd < 0 ? env_uv__code(errno) : 0;
    if (code == 0 && (fchmod(t->fd, 0600) < 0 || env_uv__file_check(t->fd, e->dir, name, NULL) < 0))
        code = CYX_EPERM;
    if (code == 0)
        code = begin(e, t, is_anew);
    if (code == 0)
        *out = t;
    else
        env_uv__trail_close(t);
    return code;
}

int env_uv__trail_add(struct env_trail *t, const uint8_t *data, size_t len)
{
    return t->len > 0 ? append(t, data, len) : CYX_EIO;
}

void env_uv__trail_close(struct env_trail *t)
{
    if (t->fd >= 0)
        close(t->fd);
    free(t);
}
