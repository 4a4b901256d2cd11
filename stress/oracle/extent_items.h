/* SPDX-License-Identifier: MIT */
/* What a leaf of the extent tree says: extents, their flags, and the references they have. Any thread. */
#ifndef REFSTORM_ORACLE_EXTENT_ITEMS_H
#define REFSTORM_ORACLE_EXTENT_ITEMS_H

#include "stress/oracle/backref.h"
#include "stress/oracle/extent_map.h"
#include "stress/oracle/reference.h"

/* Where it goes. Each returns 0 or a negative errno. */
struct extent_items_sink {
	void *argument;
	unsigned worker;
	int (*extent)(void *argument, unsigned worker, const struct mapped_extent *extent);
	int (*reference)(void *argument, unsigned worker, const struct reference *reference,
			 uint64_t count);
	/* Something that makes no sense. */
	int (*wrong)(void *argument, unsigned worker, enum backref_kind kind, uint64_t bytenr,
		     const char *detail);
};

/* Either function of the sink may be NULL. 0 or what the sink returned. */
int extent_items_read(const uint8_t *leaf, uint32_t node_bytes, uint32_t sector_bytes,
		      const struct extent_items_sink *sink) __attribute__((warn_unused_result));

#endif /* REFSTORM_ORACLE_EXTENT_ITEMS_H */
