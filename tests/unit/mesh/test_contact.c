#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/mesh.h"

/* id 1, 2, ... 32, link key 33 ... 64 (coreutils' basenc --base64url, padding cut) */
#define KEYS                                                                                       \
    "cyx:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4_QA"

static struct mesh_contact example(struct env_addr addr)
{
    struct mesh_contact c = { .addr = addr };
    for (uint8_t i = 0; i < 32; i++) {
        c.id[i] = (uint8_t)(i + 1);
        c.link_key[i] = (uint8_t)(i + 33);
    }
    return c;
}

static bool same(const struct mesh_contact *a, const struct mesh_contact *b)
{
    return memcmp(a->id, b->id, 32) == 0 && memcmp(a->link_key, b->link_key, 32) == 0 &&
           env_addr_equal(&a->addr, &b->addr);
}

static void expect_refused(const char *text, const char *why)
{
    struct mesh_contact c = { .addr.port = 7 };
    struct cyx_err err = { 0 };
    cr_expect_eq(mesh_contact_parse(&c, text, &err), CYX_EINVAL, "%s", text);
    cr_expect_not_null(strstr(err.msg, why), "%s: %s", text, err.msg);
    cr_expect_eq(c.addr.port, 7u, "left alone");
}

Test(mesh_contact, writes_the_form_that_people_copy)
{
    char text[MESH_CONTACT_TEXT];
    struct mesh_contact c = example(env_addr_v4(192, 0, 2, 1, 4100));
    cr_expect_str_eq(mesh_contact_text(&c, text), KEYS "@192.0.2.1:4100");
}

Test(mesh_contact, reads_what_it_writes_for_every_kind_of_address)
{
    static const char *const addrs[] = { "192.0.2.1:4100", "255.255.255.255:65535",
                                         "[2001:db8::1]:1", "[fe80::1%4294967295]:4100",
                                         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" };
    char text[MESH_CONTACT_TEXT];
    for (size_t i = 0; i < sizeof addrs / sizeof addrs[0]; i++) {
        struct mesh_contact c = example((struct env_addr){ 0 }), back;
        cr_assert_eq(env_addr_parse(&c.addr, addrs[i], NULL), 0);
        mesh_contact_text(&c, text);
        cr_expect_str_eq(strchr(text, '@') + 1, addrs[i]);
        cr_assert_eq(mesh_contact_parse(&back, text, NULL), 0, "%s", text);
        cr_expect(same(&c, &back), "%s", text);
    }
}

Test(mesh_contact, refuses_every_truncation)
{
    static const char whole[] = KEYS "@192.0.2.1:4";
    for (size_t len = 0; len + 1 < sizeof whole; len++) {
        char *text = strndup(whole, len);
        struct mesh_contact c;
        cr_expect_eq(mesh_contact_parse(&c, text, NULL), CYX_EINVAL, "%s", text);
        free(text);
    }
}

Test(mesh_contact, says_what_is_wrong)
{
    char text[] = KEYS "@192.0.2.1:4100";
    char *keys = text + 4; /* behind cyx: */
    expect_refused("", "in front");
    expect_refused(keys, "in front");
    expect_refused("cyx:", "without @");
    expect_refused("cyx:AQID@192.0.2.1:4100", "4 characters");
    expect_refused(KEYS "A@192.0.2.1:4100", "87 characters");
    expect_refused(KEYS "@example.org:4100", "192.0.2.1:4100");
    expect_refused(KEYS "@192.0.2.1:4100 ", "want");
    expect_refused(KEYS "@192.0.2.1:0", "to dial");
    expect_refused(KEYS "@0.0.0.0:4100", "to dial");
    expect_refused(KEYS "@[::]:4100", "to dial");
    keys[3] = '+';
    expect_refused(text, "base64url");
    memcpy(text, KEYS, 90);
    keys[85] = 'B'; /* bits beyond the last byte: a second spelling of the same keys */
    expect_refused(text, "base64url");
    memset(keys, 'A', 43);
    keys[85] = 'A';
    expect_refused(text, "all zero");
}
