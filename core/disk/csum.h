/* SPDX-License-Identifier: MIT */
/* The four checksums of btrfs: crc32c, xxhash64, sha256 and blake2b-256. Any thread. */
#ifndef REFSTORM_DISK_CSUM_H
#define REFSTORM_DISK_CSUM_H

#include "core/disk/format.h"

/* Bytes that a checksum of this type fills; 0 for a type that is not known. */
unsigned csum_bytes(uint16_t type);

/* "crc32c", "xxhash64", "sha256", "blake2b"; NULL for a type that is not known. */
const char *csum_name(uint16_t type);

/*
 * Whether the first csum_bytes() of `block` are the checksum of what stands
 * behind its first 32 bytes, up to `bytes`. `type` must be known. Tree blocks
 * and super blocks alike.
 */
bool csum_block_valid(uint16_t type, const uint8_t *block, size_t bytes);

/* Writes that checksum into the block, the rest of the 32 bytes zero: for tests and tools. */
void csum_block_write(uint16_t type, uint8_t *block, size_t bytes);

#endif /* REFSTORM_DISK_CSUM_H */
