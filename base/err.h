/* base/err.h - the one error type. Filled where the failure is known, wrapped on the way up,
 * logged once at the top. It lives on the caller's stack: reporting never allocates. */
#pragma once

/* Codes are negative so that a function can return "0 or a code"; `err.code` holds the same. */
enum cyx_code {
    CYX_OK = 0,
    CYX_EINVAL = -1,        /* an argument or a setting is out of range */
    CYX_ENOMEM = -2,        /* no memory (an ordinary error outside start-up) */
    CYX_EIO = -3,           /* a system call failed; the message names call and reason */
    CYX_EPERM = -4,         /* wrong owner, mode or credentials */
    CYX_EFULL = -5,         /* a bound was reached; the message names the bound */
    CYX_ENOENT = -6,        /* no such thing */
    CYX_EEXIST = -7,        /* already there */
    CYX_EAGAIN = -8,        /* would block: try again when told */
    CYX_ETIMEDOUT = -9,     /* a deadline passed */
    CYX_ECANCELED = -10,    /* the caller took it back, or we are stopping */
    CYX_ECLOSED = -11,      /* the other end or the object is gone */
    CYX_EPROTO = -12,       /* the other end broke a rule */
    CYX_EVERSION = -13,     /* versions share nothing; the message names both */
    CYX_ECORRUPT = -14,     /* stored data failed its check */
    CYX_EBUSY = -15,        /* somebody else holds it (a second cyxd on one data folder) */
    CYX_ENOSPC = -16,       /* the disk is full or read-only */
    CYX_EUNSUPPORTED = -17, /* this machine or build lacks it; the message names what */
    CYX_EREFUSED = -18      /* the other end said no; the message or a status says why */
};

struct cyx_err {
    int code;      /* 0, or a negative CYX_E* value */
    char msg[256]; /* NUL-terminated, cut if longer; never contains secrets */
};

/* Sets `err` (NULL is fine) to `code` and the printf-style message, and returns `code`. */
__attribute__((format(printf, 3, 4))) int cyx_fail(struct cyx_err *err, int code, const char *fmt,
                                                   ...);

/* Puts "context: " in front of the message in `err` (NULL is fine); returns err->code, or
 * CYX_EINVAL if err is NULL. Cuts at the end when the whole no longer fits. */
__attribute__((format(printf, 2, 3))) int cyx_wrap(struct cyx_err *err, const char *fmt, ...);

/* The code's short name ("EFULL") for logs and --json; "OK" for 0, "EUNKNOWN" for others. */
const char *cyx_code_name(int code);

#define CYX_MUST_USE __attribute__((warn_unused_result))
