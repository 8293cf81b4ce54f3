/* Contact lines, addresses and beacons. What is accepted must come back the same from what is
 * written. */
#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void line(const char *text)
{
    struct mesh_contact c, again;
    char written[MESH_CONTACT_TEXT];
    if (mesh_contact_parse(&c, text, NULL) != 0)
        return;
    must(mesh_contact_parse(&again, mesh_contact_text(&c, written), NULL) == 0);
    must(memcmp(c.id, again.id, 32) == 0 && memcmp(c.link_key, again.link_key, 32) == 0);
    must(env_addr_equal(&c.addr, &again.addr));
}

static void address(const char *text)
{
    struct env_addr a, again;
    char written[ENV_ADDR_TEXT];
    if (env_addr_parse(&a, text, NULL) != 0)
        return;
    must(env_addr_parse(&again, env_addr_text(&a, written), NULL) == 0);
    must(env_addr_equal(&a, &again));
}

static void beacon(const uint8_t *data, size_t len)
{
    static const uint8_t net[32] = "the network of this fuzzer, 32 b";
    const struct env_addr from = env_addr_v4(192, 0, 2, 1, 4101);
    struct mesh_contact c = { .addr.port = 0 };
    if (mesh__beacon_parse(&c, net, data, len, &from) == DROP_NONE)
        must(c.addr.port != 0 && memcmp(c.addr.ip, from.ip, 16) == 0);
    else
        must(c.addr.port == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    beacon(data, len);
    char *text = calloc(1, len + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, len);
    line(text);
    address(text);
    free(text);
    return 0;
}
