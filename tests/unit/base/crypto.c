/* Published vectors for every construction: RFC 5869, RFC 7748, RFC 4231, BLAKE2b. */
#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"

static size_t unhex(uint8_t *out, size_t cap, const char *hex)
{
    size_t n = 0;
    cr_assert_eq(sodium_hex2bin(out, cap, hex, strlen(hex), " ", &n, NULL), 0);
    return n;
}

static void expect_hex(const uint8_t *got, size_t n, const char *hex)
{
    char text[513];
    cr_assert_leq(2 * n + 1, sizeof text);
    cr_expect_str_eq(sodium_bin2hex(text, sizeof text, got, n), hex);
}

/* RFC 5869, appendix A.1 to A.3. */
static const struct {
    const char *ikm, *salt, *info, *okm;
} hkdf_vectors[] = {
    { "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
      "f0f1f2f3f4f5f6f7f8f9",
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865" },
    { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d"
      "2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
      "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d"
      "8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
      "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdd"
      "dedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
      "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e59"
      "0e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87" },
    { "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
      "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8" },
};

Test(crypto, hkdf_gives_the_vectors_of_rfc_5869)
{
    for (size_t i = 0; i < 3; i++) {
        uint8_t ikm[128], salt[128], info[128], okm[128];
        size_t ikm_n = unhex(ikm, sizeof ikm, hkdf_vectors[i].ikm);
        size_t salt_n = unhex(salt, sizeof salt, hkdf_vectors[i].salt);
        size_t info_n = unhex(info, sizeof info, hkdf_vectors[i].info);
        size_t n = strlen(hkdf_vectors[i].okm) / 2;
        crypto_hkdf(salt, salt_n, ikm, ikm_n, info, info_n, okm, n);
        expect_hex(okm, n, hkdf_vectors[i].okm);
    }
}

Test(crypto, hkdf_of_any_length_is_a_prefix_of_the_longest)
{
    static uint8_t all[255 * 32], part[255 * 32];
    crypto_hkdf("salt", 4, "key", 3, "info", 4, all, sizeof all);
    for (size_t n = 0; n <= sizeof all; n += n < 70 ? 1 : 509) {
        memset(part, 0, sizeof part);
        crypto_hkdf("salt", 4, "key", 3, "info", 4, part, n);
        cr_expect_eq(memcmp(all, part, n), 0, "length %zu", n);
        cr_expect(n == sizeof all || part[n] == 0, "nothing is written behind %zu", n);
    }
}

Test(crypto, noise_hkdf_chains_hmacs_as_noise_says)
{
    uint8_t ck[32], t[32], o1[32], o2[32], o3[32], block[33];
    memset(ck, 0x5a, sizeof ck);
    crypto_hmac(t, ck, 32, "input", 5);
    crypto_hmac(o1, t, 32, "\x01", 1);
    memcpy(block, o1, 32);
    block[32] = 2;
    crypto_hmac(o2, t, 32, block, 33);
    memcpy(block, o2, 32);
    block[32] = 3;
    crypto_hmac(o3, t, 32, block, 33);

    uint8_t a[32], b[32], c[32];
    crypto_noise_hkdf(ck, "input", 5, a, b, c);
    cr_expect_eq(memcmp(a, o1, 32), 0);
    cr_expect_eq(memcmp(b, o2, 32), 0);
    cr_expect_eq(memcmp(c, o3, 32), 0);
    crypto_noise_hkdf(ck, "input", 5, ck, b, NULL); /* in place, two outputs */
    cr_expect_eq(memcmp(ck, o1, 32), 0);
    cr_expect_eq(memcmp(b, o2, 32), 0);
}

Test(crypto, hmac_gives_the_vectors_of_rfc_4231)
{
    uint8_t out[32], key[131];
    crypto_hmac(out, (const uint8_t *)"Jefe", 4, "what do ya want for nothing?", 28);
    expect_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key); /* longer than a block: hashed first */
    crypto_hmac(out, key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54);
    expect_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

Test(crypto, dh_gives_the_vectors_of_rfc_7748)
{
    uint8_t k[32], u[32], out[32];
    unhex(k, 32, "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    unhex(u, 32, "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    cr_assert_eq(crypto_dh(out, k, u), 0);
    expect_hex(out, 32, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");

    uint8_t bob[32], alice_pub[32];
    unhex(bob, 32, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    unhex(alice_pub, 32, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    crypto_dh_public(out, bob);
    expect_hex(out, 32, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    cr_assert_eq(crypto_dh(out, bob, alice_pub), 0);
    expect_hex(out, 32, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

Test(crypto, dh_iterated_1000_times_gives_the_vector_of_rfc_7748)
{
    uint8_t k[32] = { 9 }, u[32] = { 9 }, out[32];
    for (unsigned i = 1; i <= 1000; i++) {
        cr_assert_eq(crypto_dh(out, k, u), 0);
        memcpy(u, k, 32);
        memcpy(k, out, 32);
        if (i == 1)
            expect_hex(k, 32, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
    expect_hex(k, 32, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

/* The points of small order, canonical and not, with and without the ignored top bit. */
static const char *const low_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

Test(crypto, dh_refuses_every_point_of_small_order_and_leaves_its_output_alone)
{
    uint8_t secret[32], pub[32], out[32], before[32];
    memset(secret, 0x42, sizeof secret);
    memset(before, 0x99, sizeof before);
    for (size_t i = 0; i < 2 * sizeof low_order / sizeof low_order[0]; i++) {
        unhex(pub, 32, low_order[i / 2]);
        pub[31] = (uint8_t)(pub[31] | (i % 2 == 1 ? 0x80 : 0));
        memcpy(out, before, 32);
        cr_expect_eq(crypto_dh(out, secret, pub), CYX_EPROTO, "point %zu", i);
        cr_expect_eq(memcmp(out, before, 32), 0, "point %zu", i);
    }
}

Test(crypto, h_is_blake2b_256_of_the_label_with_its_length_and_all_pieces)
{
    uint8_t got[32], want[32];
    const struct bytes pieces[] = { BYTES("ab", 2), BYTES("", 0), BYTES("cde", 3) };
    crypto_h(got, "cyx test", pieces, 3);
    crypto_generichash(want, 32,
                       (const uint8_t *)"\x08"
                                        "cyx testabcde",
                       14, NULL, 0);
    cr_expect_eq(memcmp(got, want, 32), 0);
    crypto_h(got, "", NULL, 0);
    /* BLAKE2b-256 of one zero byte, from the reference implementation. */
    expect_hex(got, 32, "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314");
}

Test(crypto, h_keeps_labels_apart)
{
    uint8_t a[32], b[32];
    const struct bytes bc = BYTES("bc", 2), c = BYTES("c", 1);
    crypto_h(a, "a", &bc, 1);
    crypto_h(b, "ab", &c, 1);
    cr_expect_neq(memcmp(a, b, 32), 0);
}

/* Python: hashlib.blake2b(bytes(range(255)), digest_size=16, key=bytes(range(32))). */
Test(crypto, mac16_is_keyed_blake2b)
{
    uint8_t key[32], in[255], out[16], other[16];
    for (unsigned i = 0; i < 255; i++)
        in[i] = (uint8_t)i;
    memcpy(key, in, 32);
    crypto_mac16(out, key, 32, in, sizeof in);
    expect_hex(out, 16, "89cde4d1b8ea2dd5325db76af38ccb90");
    crypto_mac16(out, key, 16, NULL, 0);
    expect_hex(out, 16, "083aac7ba77bc664005d821eb8bfa4d9");
    key[0] ^= 1;
    crypto_mac16(other, key, 16, NULL, 0);
    cr_expect_neq(memcmp(out, other, 16), 0);
}
