#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "host/isolation/spec.h"

static const char *const argv[] = { "true", NULL };
static const char *const env[] = { NULL };
static const char *const layers[] = { "/layer" };

static struct iso_spec good(void)
{
    return (struct iso_spec){
        .name = "a",
        .layers = layers,
        .n_layers = 1,
        .root_bytes = 65536,
        .root_inodes = 16,
        .host_ids = 100000,
        .n_ids = 65536,
        .process = { .argv = argv, .envp = env, .cwd = "/" },
    };
}

#define REFUSES(field, value)                                                                      \
    do {                                                                                           \
        struct iso_spec s = good();                                                                \
        struct cyx_err err = { 0 };                                                                \
        s.field = (value);                                                                         \
        cr_expect_eq(iso_spec_check(&s, &err), CYX_EINVAL, "%s = %s", #field, #value);             \
        cr_expect(err.msg[0] != '\0');                                                             \
    } while (0)

Test(isolation_spec, takes_a_good_one)
{
    struct iso_spec s = good();
    cr_expect_eq(iso_spec_check(&s, NULL), 0);
}

Test(isolation_spec, refuses_each_field_out_of_range)
{
    REFUSES(name, "");
    REFUSES(name, "../a");
    REFUSES(name, ".ids");
    REFUSES(name, "a/b");
    REFUSES(n_layers, 0u);
    REFUSES(n_layers, ISO_LAYERS_MAX + 1u);
    REFUSES(root_bytes, 65535u);
    REFUSES(root_inodes, 15u);
    REFUSES(host_ids, 0u);
    REFUSES(host_ids, 999u);
    REFUSES(host_ids, 65534u);
    REFUSES(host_ids, 0x7fffffffu);
    REFUSES(host_ids, UINT32_MAX);
    REFUSES(n_ids, 0u);
    REFUSES(process.uid, 65536u);
    REFUSES(process.uid, 1u << 31);
    REFUSES(process.gid, UINT32_MAX);
    REFUSES(process.cwd, "relative");
    REFUSES(process.caps, 1ull << 21);
    REFUSES(process.caps, 1ull << 63);
    REFUSES(process.umask, 01000u);
    REFUSES(limits.memory_bytes, 4096u);
    REFUSES(limits.cpu_quota_us, 5u);
    REFUSES(n_mounts, ISO_MOUNTS_MAX + 1u);
    REFUSES(n_ports, ISO_PORTS_MAX + 1u);
    REFUSES(cgroup_parent, "a/../../b");
    REFUSES(hostname, "12345678901234567890123456789012345678901234567890123456789012345");
}

Test(isolation_spec, a_number_is_whole_or_refused)
{
    static const char *const bad[] = { "",
                                       "-1",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "01",
                                       "0x10",
                                       "1e3",
                                       "1:2",
                                       "4294967296",
                                       "99999999999999999999",
                                       "2147483648",
                                       "root",
                                       "0\n" };
    uint32_t n = 77;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(iso_number(bad[i], 0x7fffffff, &n), CYX_EINVAL, "%s", bad[i]);
    cr_expect_eq(n, 77);
    cr_expect_eq(iso_number("0", 10, &n), 0);
    cr_expect_eq(n, 0);
    cr_expect_eq(iso_number("2147483647", 0x7fffffff, &n), 0);
    cr_expect_eq(n, 2147483647);
}
