/* host/isolation/sysctl.c - the kernel settings a container may have: those that belong to one of
 * its own namespaces. Everything else (kernel.core_pattern, vm.*, fs.*) is the host's; that is how
 * CVE-2022-0811 got out. */
#include <stddef.h>
#include <string.h>

#include "host/isolation/plan.h"

static const char *const allowed[] = {
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
    "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
};

int iso__sysctl_allowed(const char *key)
{
    if (key == NULL || strnlen(key, 129) > 128)
        return 0;
    for (const char *p = key; *p != '\0'; p++) {
        int fine = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_' || *p == '-' ||
                   (*p == '.' && p[1] != '.' && p[1] != '\0' && p != key);
        if (!fine)
            return 0;
    }
    if (iso__weak("sysctl"))
        return 1;
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        if (strcmp(key, allowed[i]) == 0)
            return 1;
    }
    return strncmp(key, "net.", 4) == 0 || strncmp(key, "fs.mqueue.", 10) == 0;
}
