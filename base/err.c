#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Copies the start of `text` into the message, ending on a whole UTF-8 character. */
static void set_msg(struct cyx_err *err, const char *text)
{
    size_t n = strnlen(text, sizeof err->msg);
    if (n == sizeof err->msg) {
        n--;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    memcpy(err->msg, text, n);
    err->msg[n] = '\0';
}

int cyx_fail(struct cyx_err *err, int code, const char *fmt, ...)
{
    if (err == NULL)
        return code;
    /* Through a buffer of our own: an argument may be err->msg itself. */
    char text[sizeof err->msg + 8];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    err->code = code;
    set_msg(err, text);
    return code;
}

int cyx_wrap(struct cyx_err *err, const char *fmt, ...)
{
    if (err == NULL)
        return CYX_EINVAL;
    char context[sizeof err->msg];
    char text[2 * sizeof err->msg + 8];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(context, sizeof context, fmt, ap) < 0)
        context[0] = '\0';
    va_end(ap);
    snprintf(text, sizeof text, "%s: %s", context, err->msg);
    set_msg(err, text);
    return err->code;
}

const char *cyx_code_name(int code)
{
    static const char *const names[] = {
        "OK",       "EINVAL", "ENOMEM",    "EIO",          "EPERM",    "EFULL",  "ENOENT",
        "EEXIST",   "EAGAIN", "ETIMEDOUT", "ECANCELED",    "ECLOSED",  "EPROTO", "EVERSION",
        "ECORRUPT", "EBUSY",  "ENOSPC",    "EUNSUPPORTED", "EREFUSED",
    };
    if (code > 0 || code < CYX_EREFUSED)
        return "EUNKNOWN";
    return names[-code];
}
