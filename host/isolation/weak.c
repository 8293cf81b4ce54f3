/* host/isolation/weak.c - defences taken out by name, in the library that tests link only. */
#include "host/isolation/plan.h"

#ifdef ISO_TEST_SWITCHES
#include <stdlib.h>
#include <string.h>

/* Read before the child is made; a plain walk, as the child has no libc. */
bool iso__weak(const char *defence)
{
    const char *without = getenv("ISO_WITHOUT");
    return without != NULL && strcmp(without, defence) == 0;
}
#else
extern int iso__weak_is_a_constant; /* a file must declare something */
#endif
