#include <criterion/criterion.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/secret.h"

Test(secret, init_may_be_called_again)
{
    struct cyx_err err = { 0 };
    cr_expect_eq(secret_init(&err), 0);
    cr_expect_eq(secret_init(&err), 0);
    cr_expect_eq(secret_init(NULL), 0);
}

Test(secret, memory_comes_zeroed)
{
    cr_assert_eq(secret_init(NULL), 0);
    for (size_t n = 1; n < 5000; n = n * 3 + 1) {
        uint8_t *p = secret_alloc(n);
        cr_assert_not_null(p);
        cr_expect(sodium_is_zero(p, n));
        memset(p, 0xff, n);
        secret_free(p);
    }
    secret_free(NULL);
    cr_expect_null(secret_alloc(SIZE_MAX / 2));
}

/* Runs `fn` in a child: what it does to the process must not reach other tests. */
static int in_child(int (*fn)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn());
    cr_assert_gt(pid, 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int without_locked_memory(void)
{
    const struct rlimit none = { 0, 0 };
    if (secret_init(NULL) != 0 || setrlimit(RLIMIT_MEMLOCK, &none) != 0)
        return 1;
    uint8_t *p = secret_alloc(32);
    if (p == NULL || !sodium_is_zero(p, 32))
        return 2;
    p[31] = 1;
    secret_free(p);
    return 0;
}

Test(secret, works_without_a_right_to_lock_memory)
{
    cr_expect_eq(in_child(without_locked_memory), 0);
}

static int harden(void)
{
    struct rlimit core;
    if (secret_harden_process(NULL) != 0)
        return 1;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0 || core.rlim_max != 0)
        return 2;
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : 3;
}

Test(secret, a_hardened_process_leaves_no_core)
{
    cr_expect_eq(in_child(harden), 0);
}

static void use_key(uint8_t *seen)
{
    cleanup_key32 struct key32 k = { { 1, 2, 3 } };
    memcpy(seen, k.b, 32);
    cleanup_key32_fn(&k);
    cr_expect(sodium_is_zero(k.b, sizeof k.b));
}

Test(secret, short_keys_wipe_themselves)
{
    uint8_t seen[32];
    use_key(seen);
    cr_expect_eq(seen[2], 3);
}

Test(secret, equal_compares_all_bytes)
{
    uint8_t a[32] = { 0 }, b[32] = { 0 };
    cr_expect(secret_equal(a, b, 32));
    for (unsigned i = 0; i < 32; i++) {
        b[i] = 0x80;
        cr_expect_not(secret_equal(a, b, 32), "byte %u", i);
        b[i] = 0;
    }
}
