/* SPDX-License-Identifier: MIT */
#include "core/disk/csum.h"

#include <gcrypt.h>
#include <isa-l/crc.h>
#include <pthread.h>
#include <xxhash.h>

struct csum_kind {
	const char *name;
	unsigned bytes;
};

static const struct csum_kind csum_kinds[] = {
	[FORMAT_CSUM_CRC32C] = { "crc32c", 4 },
	[FORMAT_CSUM_XXHASH64] = { "xxhash64", 8 },
	[FORMAT_CSUM_SHA256] = { "sha256", 32 },
	[FORMAT_CSUM_BLAKE2B] = { "blake2b", 32 },
};

#define CSUM_KINDS (sizeof(csum_kinds) / sizeof(csum_kinds[0]))

unsigned csum_bytes(uint16_t type)
{
	return type < CSUM_KINDS ? csum_kinds[type].bytes : 0;
}

const char *csum_name(uint16_t type)
{
	return type < CSUM_KINDS ? csum_kinds[type].name : NULL;
}

/* The program around the library may have set up libgcrypt already, as it likes it. */
static void gcrypt_start(void)
{
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return;
	gcry_check_version(NULL);
	gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
	gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
}

static void hash_gcrypt(int algorithm, uint8_t *out, const uint8_t *data, size_t bytes)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, gcrypt_start);
	gcry_md_hash_buffer(algorithm, out, data, bytes);
}

static void put_little_endian(uint8_t *out, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(value >> (8 * i));
}

/* ISA-L only reads what it is given, though its parameter is not const. */
static uint32_t crc32c(const uint8_t *data, size_t bytes)
{
	return ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)bytes, ~0U);
}

static void csum_compute(uint16_t type, uint8_t *out, const uint8_t *data, size_t bytes)
{
	switch (type) {
	case FORMAT_CSUM_CRC32C:
		put_little_endian(out, crc32c(data, bytes), 4);
		break;
	case FORMAT_CSUM_XXHASH64:
		put_little_endian(out, XXH64(data, bytes, 0), 8);
		break;
	case FORMAT_CSUM_SHA256:
		hash_gcrypt(GCRY_MD_SHA256, out, data, bytes);
		break;
	case FORMAT_CSUM_BLAKE2B:
		hash_gcrypt(GCRY_MD_BLAKE2B_256, out, data, bytes);
		break;
	default:
		assert(csum_bytes(type) != 0);
	}
}

bool csum_block_valid(uint16_t type, const uint8_t *block, size_t bytes)
{
	uint8_t computed[FORMAT_CSUM_BYTES] = { 0 };

	assert(bytes >= FORMAT_CSUM_BYTES && bytes <= FORMAT_NODE_BYTES_MAX);
	csum_compute(type, computed, block + FORMAT_CSUM_BYTES, bytes - FORMAT_CSUM_BYTES);
	/* An unknown type is never valid, not even where assertions are compiled out. */
	return csum_bytes(type) != 0 && memcmp(computed, block, csum_bytes(type)) == 0;
}

void csum_block_write(uint16_t type, uint8_t *block, size_t bytes)
{
	assert(bytes >= FORMAT_CSUM_BYTES && bytes <= FORMAT_NODE_BYTES_MAX);
	memset(block, 0, FORMAT_CSUM_BYTES);
	csum_compute(type, block, block + FORMAT_CSUM_BYTES, bytes - FORMAT_CSUM_BYTES);
}
