#include <criterion/criterion.h>
#include <string.h>

#include "base/drop.h"
#include "base/err.h"

Test(err, fail_sets_code_and_message_and_returns_the_code)
{
    struct cyx_err e = { 0 };
    cr_expect_eq(cyx_fail(&e, CYX_EIO, "open %s: %d", "x", 7), CYX_EIO);
    cr_expect_eq(e.code, CYX_EIO);
    cr_expect_str_eq(e.msg, "open x: 7");
}

Test(err, null_is_fine_everywhere)
{
    cr_expect_eq(cyx_fail(NULL, CYX_EFULL, "%s", "x"), CYX_EFULL);
    cr_expect_eq(cyx_wrap(NULL, "%s", "x"), CYX_EINVAL);
}

Test(err, wrap_puts_context_in_front_and_keeps_the_code)
{
    struct cyx_err e;
    cyx_fail(&e, CYX_EBUSY, "locked");
    cr_expect_eq(cyx_wrap(&e, "store %s", "peers"), CYX_EBUSY);
    cr_expect_str_eq(e.msg, "store peers: locked");
}

Test(err, cuts_long_messages_at_the_end)
{
    struct cyx_err e;
    char text[1000];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    cyx_fail(&e, CYX_EIO, "%s", text);
    cr_expect_eq(strlen(e.msg), sizeof e.msg - 1);
    cyx_wrap(&e, "%s", "front");
    cr_expect_eq(strlen(e.msg), sizeof e.msg - 1);
    cr_expect_eq(strncmp(e.msg, "front: aaa", 10), 0);
    cyx_wrap(&e, "%s", text);
    cr_expect_eq(strlen(e.msg), sizeof e.msg - 1);
}

Test(err, cuts_between_characters)
{
    struct cyx_err e;
    char text[400] = "a";
    for (size_t i = 1; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 3);
    cyx_fail(&e, CYX_EIO, "%s", text);
    cr_expect_eq(strlen(e.msg), 255); /* 1 + 127 * 2 */
    cyx_fail(&e, CYX_EIO, "%s", text + 1);
    cr_expect_eq(strlen(e.msg), 254, "the half character is cut");
}

Test(err, a_message_may_quote_itself)
{
    struct cyx_err e;
    cyx_fail(&e, CYX_EIO, "inner");
    cyx_fail(&e, CYX_EPROTO, "outer (%s)", e.msg);
    cr_expect_str_eq(e.msg, "outer (inner)");
    cyx_wrap(&e, "[%s]", e.msg);
    cr_expect_str_eq(e.msg, "[outer (inner)]: outer (inner)");
}

Test(err, every_code_has_its_own_name)
{
    cr_expect_str_eq(cyx_code_name(0), "OK");
    cr_expect_str_eq(cyx_code_name(CYX_EFULL), "EFULL");
    cr_expect_str_eq(cyx_code_name(CYX_EVERSION), "EVERSION");
    cr_expect_str_eq(cyx_code_name(CYX_EREFUSED), "EREFUSED");
    cr_expect_str_eq(cyx_code_name(1), "EUNKNOWN");
    cr_expect_str_eq(cyx_code_name(CYX_EREFUSED - 1), "EUNKNOWN");
    for (int a = CYX_EREFUSED; a <= 0; a++)
        for (int b = CYX_EREFUSED; b < a; b++)
            cr_expect_str_neq(cyx_code_name(a), cyx_code_name(b));
}

Test(drop, every_reason_is_one_lower_case_word_of_its_own)
{
    for (int a = 0; a < DROP_COUNT_; a++) {
        const char *name = drop_name((enum drop)a);
        cr_assert_not_null(name, "reason %d", a);
        cr_expect_eq(strspn(name, "abcdefghijklmnopqrstuvwxyz"), strlen(name), "%s", name);
        cr_expect_gt(strlen(name), 0);
        for (int b = 0; b < a; b++)
            cr_expect_str_neq(name, drop_name((enum drop)b));
    }
    cr_expect_str_eq(drop_name(DROP_REPLAY), "replay");
    cr_expect_str_eq(drop_name(DROP_COUNT_), "invalid");
}
