/* A pivot's books; apart from siege.c, since no file may know both its insides and a service's. */
#include "onion/pivot_internal.h"
#include "tests/sim/scenarios/siege.h"

uint32_t siege__effort_at(const struct onion_relay *r, const uint8_t token[static 32])
{
    struct pivot_registration *g = map_get(r->pivot->by_token, token);
    return g != NULL ? pivot__effort(g) : 0;
}
