/* base/uv/errors.c - the kernel's and libuv's error numbers as our codes. */
#include <errno.h>
#include <string.h>

#include "base/uv/env_uv_internal.h"

int env_uv__code(int errno_or_uv)
{
    /* On Unix libuv's errors are negated errno values, but for a few of its own (UV_EOF). */
    switch (errno_or_uv < 0 ? -errno_or_uv : errno_or_uv) {
    case 0:
        return CYX_OK;
    case ENOMEM:
        return CYX_ENOMEM;
    case EINVAL:
    case ENAMETOOLONG:
        return CYX_EINVAL;
    case EPERM:
    case EACCES:
    case ELOOP: /* O_NOFOLLOW met a link */
        return CYX_EPERM;
    case EMFILE:
    case ENFILE:
        return CYX_EFULL;
    case ENOENT:
    case ENOTDIR:
        return CYX_ENOENT;
    case EEXIST:
        return CYX_EEXIST;
    case EAGAIN:
        return CYX_EAGAIN;
    case ETIMEDOUT:
        return CYX_ETIMEDOUT;
    case ECANCELED:
        return CYX_ECANCELED;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return CYX_ECLOSED;
    case EADDRINUSE:
    case EBUSY:
        return CYX_EBUSY;
    case ENOSPC:
    case EDQUOT:
    case EROFS:
        return CYX_ENOSPC;
    case EAFNOSUPPORT:
    case EOPNOTSUPP:
    case ENOSYS:
        return CYX_EUNSUPPORTED;
    default:
        return CYX_EIO;
    }
}

const char *env_uv__why(int errno_or_uv, char buf[static 64])
{
    /* The GNU strerror_r: may return a static text instead of filling buf. */
    return strerror_r(errno_or_uv < 0 ? -errno_or_uv : errno_or_uv, buf, 64);
}
