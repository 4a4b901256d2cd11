/* SPDX-License-Identifier: MIT */
/* Super blocks made for tests. */
#ifndef REFSTORM_TEST_SUPER_IMAGE_H
#define REFSTORM_TEST_SUPER_IMAGE_H

#include "core/disk/format.h"

#define SUPER_IMAGE_BYTES (UINT64_C(1) << 20) /* of each device, as the device item says */

/* A sound one of generation 10, crc32c; fsid all `fsid`. To be put down with super_image_write. */
void super_image_make(struct format_super *super, uint8_t fsid, uint64_t device_id,
		      uint64_t devices);

/* Writes a copy with that mirror's address and with its checksum. */
void super_image_write(int fd, unsigned mirror, const struct format_super *super);

/* Writes it as it is. */
void super_image_write_raw(int fd, unsigned mirror, const struct format_super *super);

#endif /* REFSTORM_TEST_SUPER_IMAGE_H */
