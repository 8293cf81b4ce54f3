#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "mesh/mesh.h"

enum {
    KEYS = 64,      /* id and link key */
    KEYS_TEXT = 86, /* in base64url without padding */
};

/* In front of the keys, which may begin with '-': no program may take a contact for an option. */
static const char scheme[] = "cyx:";

const char *mesh_contact_text(const struct mesh_contact *c, char out[static MESH_CONTACT_TEXT])
{
    uint8_t keys[KEYS];
    char text[KEYS_TEXT + 1];
    char addr[ENV_ADDR_TEXT];
    memcpy(keys, c->id, 32);
    memcpy(keys + 32, c->link_key, 32);
    sodium_bin2base64(text, sizeof text, keys, sizeof keys,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(out, MESH_CONTACT_TEXT, "%s%s@%s", scheme, text, env_addr_text(&c->addr, addr));
    return out;
}

static bool is_unspecified(const struct env_addr *a)
{
    return sodium_is_zero(a->ip, sizeof a->ip) ||
           (env_addr_is_v4(a) && sodium_is_zero(a->ip + 12, 4));
}

static int parse_keys(struct mesh_contact *c, const char *text, size_t len, struct cyx_err *err)
{
    uint8_t keys[KEYS];
    size_t n = 0;
    if (len != KEYS_TEXT)
        return cyx_fail(err, CYX_EINVAL, "%zu characters before the @, want %d (base64url)", len,
                        KEYS_TEXT);
    if (sodium_base642bin(keys, sizeof keys, text, len, NULL, &n, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        n != sizeof keys)
        return cyx_fail(err, CYX_EINVAL, "the part before the @ is not base64url of 64 bytes");
    if (sodium_is_zero(keys, 32) || sodium_is_zero(keys + 32, 32))
        return cyx_fail(err, CYX_EINVAL, "the id or the link key is all zero");
    memcpy(c->id, keys, 32);
    memcpy(c->link_key, keys + 32, 32);
    return 0;
}

int mesh_contact_parse(struct mesh_contact *out, const char *text, struct cyx_err *err)
{
    struct mesh_contact c = { 0 };
    if (strncmp(text, scheme, sizeof scheme - 1) != 0)
        return cyx_fail(err, CYX_EINVAL, "contact without cyx: in front: want %skeys@address:port",
                        scheme);
    text += sizeof scheme - 1;
    const char *at = strchr(text, '@');
    if (at == NULL)
        return cyx_fail(err, CYX_EINVAL, "contact without @: want %skeys@address:port", scheme);
    if (parse_keys(&c, text, (size_t)(at - text), err) < 0)
        return cyx_wrap(err, "contact");
    if (env_addr_parse(&c.addr, at + 1, err) < 0)
        return cyx_wrap(err, "contact");
    if (c.addr.port == 0 || is_unspecified(&c.addr))
        return cyx_fail(err, CYX_EINVAL, "contact: %s: want the address and port to dial", at + 1);
    *out = c;
    return 0;
}
