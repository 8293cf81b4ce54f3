#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/writer.h"
#include "mesh/noise.h"
#include "vec.h"

/* Both ends of IK or NK, written out token by token over the symmetric state. */
struct run {
    struct noise i, r;
    uint8_t si[32], ei[32], sr[32], er[32];
    bool has_static; /* IK */
};

static void mix_both(struct run *run, const uint8_t *secret_i, const uint8_t *secret_r)
{
    uint8_t pub_i[32], pub_r[32], a[32], b[32];
    crypto_dh_public(pub_i, secret_i);
    crypto_dh_public(pub_r, secret_r);
    cr_assert_eq(crypto_dh(a, secret_i, pub_r), 0);
    cr_assert_eq(crypto_dh(b, secret_r, pub_i), 0);
    noise_mix_key(&run->i, a);
    noise_mix_key(&run->r, b);
}

static void mix_pub(struct run *run, const uint8_t *secret, uint8_t pub[static 32])
{
    crypto_dh_public(pub, secret);
    noise_mix_hash(&run->i, pub, 32);
    noise_mix_hash(&run->r, pub, 32);
}

/* Encrypts at `from`, opens at `to` in place of a copy, appends the ciphertext to `out`. */
static size_t carry(struct noise *from, struct noise *to, const uint8_t *text, size_t n,
                    uint8_t *out)
{
    uint8_t opened[256];
    noise_encrypt(from, text, n, out);
    memcpy(opened, out, n + 16);
    cr_assert_eq(noise_decrypt(to, opened, n + 16, opened), DROP_NONE);
    cr_assert_arr_eq(opened, text, n);
    return n + 16;
}

static void load(struct run *run, const json_t *v)
{
    struct vec_bytes prologue = vec_bytes(v, "prologue");
    uint8_t pub[32];
    *run = (struct run){ .has_static = json_object_get(v, "init_static") != NULL };
    if (run->has_static)
        vec_copy(v, "init_static", run->si, 32);
    vec_copy(v, "init_ephemeral", run->ei, 32);
    vec_copy(v, "resp_static", run->sr, 32);
    vec_copy(v, "resp_ephemeral", run->er, 32);
    noise_init(&run->i, vec_str(v, "name"), prologue.b, prologue.len);
    noise_init(&run->r, vec_str(v, "name"), prologue.b, prologue.len);
    mix_pub(run, run->sr, pub);
}

static size_t first(struct run *run, const struct vec_bytes *text, uint8_t *out)
{
    uint8_t pub[32];
    size_t n = 32;
    mix_pub(run, run->ei, out);      /* e */
    mix_both(run, run->ei, run->sr); /* es */
    if (run->has_static) {
        crypto_dh_public(pub, run->si);
        n += carry(&run->i, &run->r, pub, 32, out + n); /* s */
        mix_both(run, run->si, run->sr);                /* ss */
    }
    return n + carry(&run->i, &run->r, text->b, text->len, out + n);
}

static size_t second(struct run *run, const struct vec_bytes *text, uint8_t *out)
{
    mix_pub(run, run->er, out);      /* e */
    mix_both(run, run->ei, run->er); /* ee */
    if (run->has_static)
        mix_both(run, run->si, run->er); /* se */
    return 32 + carry(&run->r, &run->i, text->b, text->len, out + 32);
}

static void expect_message(const json_t *message, const uint8_t *got, size_t len)
{
    struct vec_bytes want = vec_hex(json_array_get(message, 1));
    cr_assert_eq(len, want.len);
    cr_assert_arr_eq(got, want.b, len);
}

static void transport(const json_t *messages, uint8_t keys[2][32])
{
    for (size_t m = 2; m < json_array_size(messages); m++) {
        const json_t *message = json_array_get(messages, m);
        struct vec_bytes text = vec_hex(json_array_get(message, 0));
        uint8_t nonce[12] = { 0 }, out[256];
        nonce[4] = (uint8_t)((m - 2) / 2);
        crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, text.b, text.len, NULL, 0, NULL, nonce,
                                                  keys[m % 2]);
        expect_message(message, out, text.len + 16);
    }
}

Test(noise, gives_the_public_vectors_of_ik_and_nk)
{
    json_t *root = vec_open("noise");
    const json_t *v;
    size_t at, seen = 0;
    json_array_foreach(vec_get(root, "vectors"), at, v)
    {
        const json_t *messages = vec_get(v, "messages");
        struct run run;
        uint8_t out[256], hash[32], keys[2][32], keys_r[2][32];
        load(&run, v);
        struct vec_bytes text = vec_hex(json_array_get(json_array_get(messages, 0), 0));
        size_t n = first(&run, &text, out);
        expect_message(json_array_get(messages, 0), out, n);
        text = vec_hex(json_array_get(json_array_get(messages, 1), 0));
        n = second(&run, &text, out);
        expect_message(json_array_get(messages, 1), out, n);
        vec_copy(v, "handshake_hash", hash, sizeof hash);
        cr_assert_arr_eq(run.i.h, hash, 32);
        cr_assert_arr_eq(run.r.h, hash, 32);
        noise_split(&run.i, keys[0], keys[1], NULL);
        noise_split(&run.r, keys_r[0], keys_r[1], NULL);
        cr_assert_arr_eq(keys, keys_r, sizeof keys);
        transport(messages, keys);
        seen++;
    }
    cr_assert_eq(seen, 2u);
    vec_close(root);
}

static struct noise keyed(void)
{
    struct noise s;
    const uint8_t dh[32] = { 1, 2, 3 };
    noise_init(&s, "Noise_IK_25519_ChaChaPoly_SHA256", "p", 1);
    noise_mix_key(&s, dh);
    return s;
}

Test(noise, leaves_state_and_output_alone_when_a_tag_is_wrong)
{
    uint8_t sealed[48], buf[48];
    struct noise from = keyed();
    noise_encrypt(&from, (const uint8_t *)"thirty-two bytes of plain text..", 32, sealed);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        struct noise to = keyed(), before = to;
        memcpy(buf, sealed, sizeof buf);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        uint8_t given[48];
        memcpy(given, buf, sizeof given);
        cr_assert_eq(noise_decrypt(&to, buf, sizeof buf, buf), DROP_AUTH, "bit %zu", bit);
        cr_assert_arr_eq(&to, &before, sizeof to, "bit %zu", bit);
        cr_assert_arr_eq(buf, given, sizeof buf, "bit %zu", bit);
        cr_assert_eq(noise_decrypt(&to, sealed, sizeof sealed, buf), DROP_NONE);
        cr_assert_arr_eq(buf, "thirty-two bytes of plain text..", 32);
    }
}

Test(noise, refuses_what_is_shorter_than_a_tag)
{
    uint8_t sealed[16], out[16];
    struct noise from = keyed(), to = keyed(), before = to;
    noise_encrypt(&from, NULL, 0, sealed);
    for (size_t n = 0; n < 16; n++)
        cr_assert_eq(noise_decrypt(&to, sealed, n, out), DROP_AUTH);
    cr_assert_arr_eq(&to, &before, sizeof to);
    cr_assert_eq(noise_decrypt(&to, sealed, 16, out), DROP_NONE);
}

Test(noise, counts_nonces_so_that_equal_texts_differ)
{
    uint8_t a[20], b[20];
    struct noise s = keyed();
    noise_encrypt(&s, (const uint8_t *)"same", 4, a);
    noise_encrypt(&s, (const uint8_t *)"same", 4, b);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
    cr_assert_eq(s.n, 2u);
    struct noise to = keyed();
    cr_assert_eq(noise_decrypt(&to, a, sizeof a, a), DROP_NONE);
    cr_assert_eq(noise_decrypt(&to, b, sizeof b, b), DROP_NONE);
    cr_assert_arr_eq(a, "same", 4);
    cr_assert_arr_eq(b, "same", 4);
    cr_assert_arr_eq(&s, &to, sizeof s);
}

Test(noise, hashes_a_long_protocol_name)
{
    static const char name[] = "Noise_IKpsk1_25519_ChaChaPoly_SHA256";
    struct noise s;
    uint8_t h[32];
    noise_init(&s, name, NULL, 0);
    crypto_hash_sha256(h, (const uint8_t *)name, sizeof name - 1);
    cr_assert_arr_eq(s.ck, h, 32);
}

/* The link handshake of handshake.json, token by token, down to Split's third output. */
Test(noise, gives_the_third_output_of_the_vectors)
{
    json_t *root = vec_open("handshake");
    const json_t *v = json_array_get(vec_get(root, "handshakes"), 0);
    struct run run = { .has_static = true };
    struct vec_bytes text = { .len = 16 };
    uint8_t prologue[75] = "cyx link 1", out[256], want[32], keys[3][32];
    vec_copy(v, "net", prologue + 10, 32);
    prologue[42] = 1;
    vec_copy(v, "responder_id", prologue + 43, 32);
    vec_copy(v, "initiator_secret", run.si, 32);
    vec_copy(v, "initiator_ephemeral", run.ei, 32);
    vec_copy(v, "responder_secret", run.sr, 32);
    vec_copy(v, "responder_ephemeral", run.er, 32);
    noise_init(&run.i, "Noise_IK_25519_ChaChaPoly_SHA256", prologue, sizeof prologue);
    run.r = run.i;
    mix_pub(&run, run.sr, out);
    struct writer w = writer_on(text.b, text.len);
    writer_u64(&w, vec_u64(v, "sequence"));
    writer_copy(&w, vec_bytes(v, "initiator_version").b, 4);
    writer_u32(&w, (uint32_t)vec_u64(v, "initiator_features"));
    first(&run, &text, out);
    w = writer_on(text.b, text.len);
    writer_u64(&w, vec_u64(v, "net_time_rounded"));
    writer_copy(&w, vec_bytes(v, "responder_version").b, 4);
    writer_u32(&w, (uint32_t)vec_u64(v, "features"));
    second(&run, &text, out);
    vec_copy(v, "handshake_hash", want, sizeof want);
    cr_assert_arr_eq(run.i.h, want, sizeof want);
    noise_split(&run.i, keys[0], keys[1], keys[2]);
    vec_copy(v, "third", want, sizeof want);
    cr_assert_arr_eq(keys[2], want, sizeof want);
    vec_close(root);
}

Test(noise, gives_a_third_output_without_changing_the_first_two)
{
    const uint8_t dh[32] = { 9 };
    uint8_t third[32], split[3][32];
    struct noise a = keyed(), b = keyed();
    noise_mix_key(&a, dh);
    noise_mix_key3(&b, dh, third);
    cr_assert_arr_eq(&a, &b, sizeof a);
    cr_assert_neq(memcmp(third, b.k, 32), 0);
    noise_split(&b, split[0], split[1], split[2]);
    cr_assert_neq(memcmp(split[0], split[1], 32), 0);
    cr_assert_neq(memcmp(split[1], split[2], 32), 0);
}

Test(noise, wipes_everything)
{
    struct noise s = keyed();
    noise_wipe(&s);
    cr_assert_eq(sodium_is_zero((const uint8_t *)&s, sizeof s), 1);
}
