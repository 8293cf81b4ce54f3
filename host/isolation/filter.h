/* host/isolation/filter.h - which system calls a container may make: an allow-list compiled to BPF
 * once, installed by each container. A binary search over ranges takes 43 us to install where
 * libseccomp's linear program takes 297 and building it 1017 more. */
#pragma once
#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

struct cyx_err;

enum iso_filter_action {
    ISO_FILTER_ERRNO, /* with the errno beside it */
    ISO_FILTER_ALLOW,
    ISO_FILTER_KILL
};

enum iso_filter_op {
    ISO_OP_EQ,
    ISO_OP_NE,
    ISO_OP_LT,
    ISO_OP_LE,
    ISO_OP_GE,
    ISO_OP_GT,
    ISO_OP_MASKED
};

/* One comparison of a call's argument; all of a rule's must hold. */
struct iso_filter_arg {
    unsigned index; /* 0..5 */
    enum iso_filter_op op;
    uint64_t value;  /* ISO_OP_MASKED: the mask */
    uint64_t masked; /* ISO_OP_MASKED: what (argument & mask) must be */
    unsigned is_32;  /* only the low half counts: the kernel takes an int */
};

struct iso_filter_rule {
    uint32_t nr; /* x86-64's number */
    enum iso_filter_action action;
    uint16_t error;
    unsigned n_args; /* at most 4 */
    struct iso_filter_arg args[4];
};

enum { ISO_FILTER_RULES_MAX = 1024, ISO_FILTER_INSNS_MAX = 4096 };

/* Compiles `n` rules (sorted by nr here; rules of one nr are tried in the given order, the first
 * whose arguments match decides) and what happens else: `other` for numbers up to the highest that
 * this build knows, ENOSYS above. x32 and i386 calls get ENOSYS whatever the rules say.
 * Returns 0 with *out (instructions owned by the caller, free(out->filter)), CYX_EINVAL, CYX_ENOMEM
 * or CYX_EFULL. */
int iso_filter_compile(const struct iso_filter_rule *rules, unsigned n,
                       enum iso_filter_action other, uint16_t other_error, struct sock_fprog *out,
                       struct cyx_err *err);

/* The list for strangers. Spec: docs/host-isolation.md, "System calls". */
int iso_filter_default(struct sock_fprog *out, struct cyx_err *err);

/* The rules of that list, *n of them, for making a narrower one. Not to be freed. */
const struct iso_filter_rule *iso_filter_default_rules(unsigned *n);

/* x86-64's number of a system call by name, or -1. */
int iso_syscall_number(const char *name);
