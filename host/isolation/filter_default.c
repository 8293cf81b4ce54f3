/* host/isolation/filter_default.c - the allow-list for strangers' containers. */
#include <asm/ioctls.h>
#include <asm/unistd.h>
#include <errno.h>
#include <linux/sched.h>
#include <sys/socket.h>

#include "base/err.h"
#include "host/isolation/filter.h"
#include "host/isolation/plan.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

enum { NR_CACHESTAT = 451, NR_FCHMODAT2 = 452, NR_FUTEX_WAKE = 454, NR_MSEAL = 462 };

static const uint32_t allowed[] = {
#define A(name) __NR_##name,
#include "filter_allowed.inc"
#undef A
    NR_CACHESTAT, NR_FCHMODAT2, NR_FUTEX_WAKE, NR_FUTEX_WAKE + 1, NR_FUTEX_WAKE + 2, NR_MSEAL,
};

/* A new user namespace would open the kernel's privileged half again (CVE-2022-0185). */
#define NAMESPACES                                                                                 \
    (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |     \
     CLONE_NEWCGROUP)

#define EQ32(i, v)                                                                                 \
    {                                                                                              \
        .index = (i), .op = ISO_OP_EQ, .value = (v), .is_32 = 1                                    \
    }
#define BITS(i, m)                                                                                 \
    {                                                                                              \
        .index = (i), .op = ISO_OP_MASKED, .value = (m), .masked = 0                               \
    }
#define ALLOW(n, ...)                                                                              \
    {                                                                                              \
        .nr = __NR_##n, .action = ISO_FILTER_ALLOW,                                                \
        .n_args = ARRAY(((struct iso_filter_arg[]){ __VA_ARGS__ })), .args = {                     \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define DENY(n, e, ...)                                                                            \
    {                                                                                              \
        .nr = __NR_##n, .action = ISO_FILTER_ERRNO, .error = (e),                                  \
        .n_args = ARRAY(((struct iso_filter_arg[]){ __VA_ARGS__ })), .args = {                     \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define ALWAYS(n, what, e)                                                                         \
    {                                                                                              \
        .nr = __NR_##n, .action = (what), .error = (e)                                             \
    }

static const struct iso_filter_rule by_argument[] = {
    ALLOW(clone, BITS(0, NAMESPACES)),
    /* Its flags are in memory, out of a filter's sight; libc falls back to clone. */
    ALWAYS(clone3, ISO_FILTER_ERRNO, ENOSYS),
    /* The kernel takes 32 bits of the request: so does the comparison, or a high bit gets around
       it. */
    DENY(ioctl, EPERM, EQ32(1, TIOCSTI)), DENY(ioctl, EPERM, EQ32(1, TIOCLINUX)),
    DENY(ioctl, EPERM, EQ32(1, TIOCSETD)), /* line disciplines load modules */
    ALWAYS(ioctl, ISO_FILTER_ALLOW, 0), ALLOW(socket, EQ32(0, AF_UNIX)),
    ALLOW(socket, EQ32(0, AF_INET)), ALLOW(socket, EQ32(0, AF_INET6)),
    ALLOW(socket, EQ32(0, AF_NETLINK), EQ32(2, 0)), /* NETLINK_ROUTE: getifaddrs() */
    ALWAYS(socket, ISO_FILTER_ERRNO, EAFNOSUPPORT), ALLOW(socketpair, EQ32(0, AF_UNIX)),
    ALLOW(personality, EQ32(0, 0)), ALLOW(personality, EQ32(0, 0x20000)), /* UNAME26 */
    ALLOW(personality, EQ32(0, 0xffffffff)),                              /* only asks */
};

enum { N_ALLOWED = ARRAY(allowed), N_BY_ARGUMENT = ARRAY(by_argument) };

const struct iso_filter_rule *iso_filter_default_rules(unsigned *n)
{
    static struct iso_filter_rule rules[N_ALLOWED + N_BY_ARGUMENT];
    for (unsigned i = 0; i < N_ALLOWED; i++)
        rules[i] = (struct iso_filter_rule){ .nr = allowed[i], .action = ISO_FILTER_ALLOW };
    for (unsigned i = 0; i < N_BY_ARGUMENT; i++)
        rules[N_ALLOWED + i] = by_argument[i];
    *n = N_ALLOWED + N_BY_ARGUMENT;
    return rules;
}

int iso_filter_default(struct sock_fprog *out, struct cyx_err *err)
{
    unsigned n;
    const struct iso_filter_rule *rules = iso_filter_default_rules(&n);
    return iso_filter_compile(rules, n, ISO_FILTER_ERRNO, EPERM, out, err);
}
