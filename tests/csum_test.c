/* SPDX-License-Identifier: MIT */
/* The vectors come from Python: hashlib, and crc32c and XXH64 written there from their definitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

#include "core/disk/csum.h"

#define TYPES 4
#define PATTERN_BYTES 4064

static const char *const names[TYPES] = { "crc32c", "xxhash64", "sha256", "blake2b" };
static const unsigned sizes[TYPES] = { 4, 8, 32, 32 };

static const char *const vectors_empty[TYPES] = {
	"00000000",
	"99e9d85137db46ef",
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8",
};

static const char *const vectors_digits[TYPES] = {
	"839206e3",
	"83aee640db41b88c",
	"15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
	"16e0bf1f85594a11e75030981c0b670370b3ad83a43f49ae58a2fd6f6513cde9",
};

static const char *const vectors_pattern[TYPES] = {
	"6dd89679",
	"a027ef7e3311d132",
	"20e285aa86d2db0c788b89119dacd1f6d0b174d176fff358d66169640a3b14ec",
	"599e2704ee56cb1047d528873c8bf0a99e5bf683520bea35049a4b700a6e8e9c",
};

static void to_hex(const uint8_t *bytes, unsigned count, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < count; i++) {
		*text++ = digits[bytes[i] >> 4];
		*text++ = digits[bytes[i] & 15];
	}
	*text = '\0';
}

static void check_vectors(const char *const vectors[TYPES], const void *data, size_t bytes)
{
	uint8_t block[FORMAT_CSUM_BYTES + PATTERN_BYTES];
	char text[2 * FORMAT_CSUM_BYTES + 1];

	for (uint16_t type = 0; type < TYPES; type++) {
		memset(block, 0xff, FORMAT_CSUM_BYTES);
		memcpy(block + FORMAT_CSUM_BYTES, data, bytes);
		assert_false(csum_block_valid(type, block, FORMAT_CSUM_BYTES + bytes));

		csum_block_write(type, block, FORMAT_CSUM_BYTES + bytes);
		to_hex(block, sizes[type], text);
		assert_string_equal(text, vectors[type]);
		for (unsigned i = sizes[type]; i < FORMAT_CSUM_BYTES; i++)
			assert_int_equal(block[i], 0);
		assert_memory_equal(block + FORMAT_CSUM_BYTES, data, bytes);
		assert_true(csum_block_valid(type, block, FORMAT_CSUM_BYTES + bytes));
	}
}

static void fill_pattern(uint8_t *data)
{
	for (unsigned i = 0; i < PATTERN_BYTES; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
}

static void test_vectors(void **state)
{
	uint8_t pattern[PATTERN_BYTES];

	(void)state;
	fill_pattern(pattern);
	check_vectors(vectors_empty, "", 0);
	check_vectors(vectors_digits, "123456789", 9);
	check_vectors(vectors_pattern, pattern, sizeof(pattern));
}

static void test_names(void **state)
{
	(void)state;
	for (uint16_t type = 0; type < TYPES; type++) {
		assert_int_equal(csum_bytes(type), sizes[type]);
		assert_string_equal(csum_name(type), names[type]);
	}
	for (unsigned type = TYPES; type <= UINT16_MAX; type++) {
		assert_int_equal(csum_bytes((uint16_t)type), 0);
		assert_null(csum_name((uint16_t)type));
	}
}

/* Every bit of the data and of the checksum counts, and none of the padding behind the checksum. */
static void test_bits(void **state)
{
	uint8_t block[FORMAT_CSUM_BYTES + 96];

	(void)state;
	for (uint16_t type = 0; type < TYPES; type++) {
		for (unsigned i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)(i * 31);
		csum_block_write(type, block, sizeof(block));
		for (unsigned bit = 0; bit < 8 * sizeof(block); bit++) {
			bool padding = bit / 8 >= sizes[type] && bit / 8 < FORMAT_CSUM_BYTES;

			block[bit / 8] ^= (uint8_t)(1U << bit % 8);
			assert_int_equal(csum_block_valid(type, block, sizeof(block)), padding);
			block[bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
	}
}

static uint32_t slow_crc32c(const uint8_t *data, size_t bytes)
{
	uint32_t crc = ~0U;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= data[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
	}
	return ~crc;
}

/* The library takes different paths by length and alignment. */
static void test_lengths(void **state)
{
	uint8_t pattern[PATTERN_BYTES];
	uint8_t block[8 + FORMAT_CSUM_BYTES + 1024];

	(void)state;
	fill_pattern(pattern);
	for (size_t bytes = 0; bytes <= 1024; bytes++) {
		uint8_t *at = block + bytes % 8;

		memcpy(at + FORMAT_CSUM_BYTES, pattern + bytes, bytes);
		csum_block_write(FORMAT_CSUM_CRC32C, at, FORMAT_CSUM_BYTES + bytes);
		assert_int_equal(format_le32(at), slow_crc32c(pattern + bytes, bytes));
	}
}

/* The first use of libgcrypt may come from many threads at once. */
static void *check_pattern(void *argument)
{
	static const uint16_t types[] = { FORMAT_CSUM_BLAKE2B, FORMAT_CSUM_SHA256 };
	uint8_t block[FORMAT_CSUM_BYTES + PATTERN_BYTES];
	size_t *good = argument;
	char text[2 * FORMAT_CSUM_BYTES + 1];

	for (unsigned round = 0; round < 100; round++) {
		uint16_t type = types[round % 2];

		fill_pattern(block + FORMAT_CSUM_BYTES);
		csum_block_write(type, block, sizeof(block));
		to_hex(block, sizes[type], text);
		*good += strcmp(text, vectors_pattern[type]) == 0;
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[8];
	size_t good[8] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, check_pattern, &good[i]), 0);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(good[i], 100);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads), /* first: it starts libgcrypt */
		cmocka_unit_test(test_vectors), cmocka_unit_test(test_names),
		cmocka_unit_test(test_bits),    cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
