#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/isolation.h"

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

bool iso_is_sealed(void)
{
    cleanup_close int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int seals = self >= 0 ? fcntl(self, F_GET_SEALS) : -1;
    return seals >= 0 && (seals & SEALS) == SEALS;
}

static int copy_self(int to, struct cyx_err *err)
{
    struct stat st;
    cleanup_close int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (self < 0 || fstat(self, &st) < 0)
        return cyx_fail(err, CYX_EIO, "/proc/self/exe: %s", strerror(errno));
    for (off_t left = st.st_size; left > 0;) {
        ssize_t n = sendfile(to, self, NULL, (size_t)left);
        if (n <= 0)
            return cyx_fail(err, CYX_EIO, "copy of this program: %s", strerror(errno));
        left -= n;
    }
    return 0;
}

int iso_seal_self(char **argv, struct cyx_err *err)
{
    if (iso_is_sealed())
        return 0;
    cleanup_close int copy = memfd_create("cyx-run", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (copy < 0)
        return cyx_fail(err, CYX_EIO, "memfd: %s", strerror(errno));
    if (copy_self(copy, err) < 0)
        return err != NULL ? err->code : CYX_EIO;
    if (fcntl(copy, F_ADD_SEALS, SEALS) < 0)
        return cyx_fail(err, CYX_EIO, "seals: %s", strerror(errno));
    fexecve(copy, argv, environ);
    return cyx_fail(err, CYX_EIO, "exec of the sealed copy: %s", strerror(errno));
}
