#include "base/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

int secret_init(struct cyx_err *err)
{
    if (sodium_init() < 0) /* thread-safe; 1 when it was done before */
        return cyx_fail(err, CYX_EIO, "libsodium does not start: no source of randomness?");
    if (sodium_library_version_major() != SODIUM_LIBRARY_VERSION_MAJOR ||
        sodium_library_version_minor() < SODIUM_LIBRARY_VERSION_MINOR)
        return cyx_fail(err, CYX_EIO, "libsodium %s is installed, built against %s",
                        sodium_version_string(), SODIUM_VERSION_STRING);
    return 0;
}

void *secret_alloc(size_t n)
{
    void *p = sodium_malloc(n);
    if (p != NULL)
        memset(p, 0, n);
    return p;
}

void secret_free(void *p)
{
    sodium_free(p);
}

int secret_harden_process(struct cyx_err *err)
{
    const struct rlimit none = { 0, 0 };
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return cyx_fail(err, CYX_EIO, "setrlimit core 0: %s", strerror(errno));
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return cyx_fail(err, CYX_EIO, "prctl PR_SET_DUMPABLE 0: %s", strerror(errno));
    return 0;
}
