#include "host/isolation/filter.h"

#include <asm/unistd.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"

enum { X32_BIT = 0x40000000, KNOWN_MAX = 462 /* mseal: the last one the lists name */ };

/* A run of numbers that are treated alike. */
struct segment {
    uint32_t from;
    uint32_t ret;     /* what is returned */
    unsigned rule;    /* first of n_rules with arguments, tried before `ret` */
    unsigned n_rules; /* 0: no look at arguments */
};

struct program {
    struct sock_filter *insn;
    unsigned n;
    unsigned is_full;
};

static uint32_t ret_of(enum iso_filter_action action, uint16_t error)
{
    switch (action) {
    case ISO_FILTER_ALLOW:
        return SECCOMP_RET_ALLOW;
    case ISO_FILTER_KILL:
        return SECCOMP_RET_KILL_PROCESS;
    case ISO_FILTER_ERRNO:
        break;
    }
    return SECCOMP_RET_ERRNO | error;
}

static void put(struct program *p, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
    if (p->n == ISO_FILTER_INSNS_MAX) {
        p->is_full = 1;
        return;
    }
    p->insn[p->n++] = (struct sock_filter){ .code = code, .jt = jt, .jf = jf, .k = k };
}

/* Offsets of jumps that leave the rule are filled in when its end is known; 255 marks them. */
enum { FAIL = 255 };

static void load_half(struct program *p, const struct iso_filter_arg *a, unsigned is_high)
{
    put(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, 16 + 8 * a->index + (is_high ? 4 : 0));
}

static void put_order(struct program *p, const struct iso_filter_arg *a, unsigned is_greater,
                      unsigned with_equal)
{
    uint32_t high = (uint32_t)(a->value >> 32), low = (uint32_t)a->value;
    /* "greater or equal" is "not less": JGE; "less or equal" is "not greater": JGT. */
    uint16_t last = (is_greater == with_equal) ? BPF_JGE : BPF_JGT;
    if (!a->is_32) {
        load_half(p, a, 1);
        put(p, BPF_JMP | BPF_JGT | BPF_K, is_greater ? 3 : FAIL, 0, high);
        put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, is_greater ? FAIL : 2, high);
    }
    load_half(p, a, 0);
    put(p, BPF_JMP | last | BPF_K, is_greater ? 0 : FAIL, is_greater ? FAIL : 0, low);
}

static void put_arg(struct program *p, const struct iso_filter_arg *a)
{
    uint32_t high = (uint32_t)(a->value >> 32), low = (uint32_t)a->value;
    switch (a->op) {
    case ISO_OP_EQ:
        if (!a->is_32) {
            load_half(p, a, 1);
            put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, FAIL, high);
        }
        load_half(p, a, 0);
        put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, FAIL, low);
        return;
    case ISO_OP_NE:
        if (!a->is_32) {
            load_half(p, a, 1);
            put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, high);
        }
        load_half(p, a, 0);
        put(p, BPF_JMP | BPF_JEQ | BPF_K, FAIL, 0, low);
        return;
    case ISO_OP_MASKED:
        if (!a->is_32) {
            load_half(p, a, 1);
            put(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, high);
            put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, FAIL, (uint32_t)(a->masked >> 32));
        }
        load_half(p, a, 0);
        put(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, low);
        put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, FAIL, (uint32_t)a->masked);
        return;
    case ISO_OP_LT:
        put_order(p, a, 0, 0);
        return;
    case ISO_OP_LE:
        put_order(p, a, 0, 1);
        return;
    case ISO_OP_GE:
        put_order(p, a, 1, 1);
        return;
    case ISO_OP_GT:
        put_order(p, a, 1, 0);
        return;
    }
}

static void put_rule(struct program *p, const struct iso_filter_rule *rule)
{
    unsigned start = p->n;
    for (unsigned i = 0; i < rule->n_args; i++)
        put_arg(p, &rule->args[i]);
    put(p, BPF_RET | BPF_K, 0, 0, ret_of(rule->action, rule->error));
    for (unsigned i = start; i < p->n; i++) {
        struct sock_filter *f = &p->insn[i];
        if (BPF_CLASS(f->code) != BPF_JMP)
            continue;
        f->jt = f->jt == FAIL ? (uint8_t)(p->n - i - 1) : f->jt;
        f->jf = f->jf == FAIL ? (uint8_t)(p->n - i - 1) : f->jf;
    }
}

static void put_leaf(struct program *p, const struct segment *s,
                     const struct iso_filter_rule *rules)
{
    for (unsigned i = 0; i < s->n_rules; i++)
        put_rule(p, &rules[s->rule + i]);
    put(p, BPF_RET | BPF_K, 0, 0, s->ret);
}

/* A binary search over segments [lo, hi): left half inline, right half behind it. */
static void put_tree(struct program *p, const struct segment *segs, unsigned lo, unsigned hi,
                     const struct iso_filter_rule *rules)
{
    if (hi - lo == 1) {
        put_leaf(p, &segs[lo], rules);
        return;
    }
    unsigned mid = lo + (hi - lo) / 2;
    unsigned at = p->n;
    put(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, segs[mid].from);
    put(p, BPF_JMP | BPF_JA, 0, 0, 0);
    put_tree(p, segs, lo, mid, rules);
    if (p->is_full)
        return;
    unsigned left = p->n - at - 2;
    if (left + 1 <= 250) { /* one jump is enough, the other does nothing */
        memmove(&p->insn[at + 1], &p->insn[at + 2], left * sizeof *p->insn);
        p->n--;
        p->insn[at].jt = (uint8_t)left;
        p->insn[at].jf = 0;
    } else {
        p->insn[at + 1].k = left;
    }
    put_tree(p, segs, mid, hi, rules);
}

/* The rules' order of one number is kept: the first that matches decides. */
static int compare(const void *a, const void *b)
{
    const struct iso_filter_rule *x = *(const struct iso_filter_rule *const *)a;
    const struct iso_filter_rule *y = *(const struct iso_filter_rule *const *)b;
    if (x->nr != y->nr)
        return x->nr < y->nr ? -1 : 1;
    return x < y ? -1 : x > y;
}

static unsigned add_segment(struct segment *segs, unsigned n, struct segment s)
{
    if (n > 0 && segs[n - 1].n_rules == 0 && s.n_rules == 0 && segs[n - 1].ret == s.ret)
        return n;
    segs[n] = s;
    return n + 1;
}

static unsigned make_segments(struct segment *segs, const struct iso_filter_rule *rules,
                              unsigned n_rules, uint32_t other)
{
    unsigned n = 0, at = 0;
    for (uint32_t nr = 0; nr <= KNOWN_MAX; nr++) {
        struct segment s = { .from = nr, .ret = other, .rule = at };
        for (; at < n_rules && rules[at].nr == nr; at++) {
            if (rules[at].n_args == 0) { /* decides: what follows it is never reached */
                s.ret = ret_of(rules[at].action, rules[at].error);
                while (at < n_rules && rules[at].nr == nr)
                    at++;
                break;
            }
            s.n_rules++;
        }
        n = add_segment(segs, n, s);
    }
    struct segment unknown = { .from = KNOWN_MAX + 1, .ret = SECCOMP_RET_ERRNO | ENOSYS };
    return add_segment(segs, n, unknown);
}

static int check_rules(const struct iso_filter_rule *rules, unsigned n, struct cyx_err *err)
{
    if (n > ISO_FILTER_RULES_MAX)
        return cyx_fail(err, CYX_EFULL, "filter: %u rules, at most %d", n, ISO_FILTER_RULES_MAX);
    for (unsigned i = 0; i < n; i++) {
        if (rules[i].nr > KNOWN_MAX || rules[i].n_args > 4)
            return cyx_fail(err, CYX_EINVAL, "filter: rule %u", i);
        for (unsigned k = 0; k < rules[i].n_args; k++) {
            if (rules[i].args[k].index > 5)
                return cyx_fail(err, CYX_EINVAL, "filter: rule %u: argument %u", i, k);
        }
    }
    return 0;
}

int iso_filter_compile(const struct iso_filter_rule *rules, unsigned n,
                       enum iso_filter_action other, uint16_t other_error, struct sock_fprog *out,
                       struct cyx_err *err)
{
    if (check_rules(rules, n, err) < 0)
        return err != NULL ? err->code : CYX_EINVAL;
    cleanup_free struct iso_filter_rule *sorted = calloc(n + 1u, sizeof *sorted);
    cleanup_free const struct iso_filter_rule **order = calloc(n + 1u, sizeof *order);
    cleanup_free struct segment *segs = calloc(KNOWN_MAX + 3, sizeof *segs);
    cleanup_free struct sock_filter *insn = calloc(ISO_FILTER_INSNS_MAX, sizeof *insn);
    if (sorted == NULL || order == NULL || segs == NULL || insn == NULL)
        return cyx_fail(err, CYX_ENOMEM, "filter");
    for (unsigned i = 0; i < n; i++)
        order[i] = &rules[i];
    qsort(order, n, sizeof *order, compare);
    for (unsigned i = 0; i < n; i++)
        sorted[i] = *order[i];
    unsigned n_segs = make_segments(segs, sorted, n, ret_of(other, other_error));
    struct program p = { .insn = insn };
    put(&p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
    put(&p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
    put(&p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS); /* i386 */
    put(&p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
    put(&p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_BIT);
    put(&p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS);
    put_tree(&p, segs, 0, n_segs, sorted);
    if (p.is_full)
        return cyx_fail(err, CYX_EFULL, "filter: more than %d instructions", ISO_FILTER_INSNS_MAX);
    *out = (struct sock_fprog){ .len = (unsigned short)p.n, .filter = steal(&insn) };
    return 0;
}

int iso_syscall_number(const char *name)
{
    static const struct {
        const char *name;
        int nr;
    } table[] = {
#define S(name, nr) { #name, nr },
#include "syscalls.inc" /* made from the kernel's header when the build is configured */
#undef S
        { "cachestat", 451 },  { "fchmodat2", 452 },  { "map_shadow_stack", 453 },
        { "futex_wake", 454 }, { "futex_wait", 455 }, { "futex_requeue", 456 },
        { "statmount", 457 },  { "listmount", 458 },  { "lsm_get_self_attr", 459 },
        { "mseal", 462 },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].name, name) == 0)
            return table[i].nr;
    }
    return -1;
}
