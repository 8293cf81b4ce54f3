/* host/isolation/weak.c - defences taken out by name, in the library that tests link only. */
#include "host/isolation/plan.h"

#ifdef ISO_TEST_SWITCHES
#include <stdlib.h>
#include <string.h>

/* ISO_WITHOUT is a list with commas. Only reads: the child runs this too. */
bool iso__weak(const char *defence)
{
    const char *without = getenv("ISO_WITHOUT");
    size_t len = strlen(defence);
    for (const char *p = without; p != NULL && *p != '\0'; p += strcspn(p, ",")) {
        p += *p == ',';
        if (strncmp(p, defence, len) == 0 && (p[len] == ',' || p[len] == '\0'))
            return true;
    }
    return false;
}
#else
extern int iso__weak_is_a_constant; /* a file must declare something */
#endif
