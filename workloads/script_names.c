/* SPDX-License-Identifier: MIT */
#include "workloads/script_names.h"

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

#define SLOTS_FIRST 64

struct script_names_key {
	uint64_t hash;
	size_t bytes;
	alignas(max_align_t) unsigned char key[];
};

/* FNV-1a: keys are short, and come from whoever runs the program. */
static uint64_t key_hash(const void *key, size_t bytes)
{
	const unsigned char *byte = key;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t at;

	for (at = 0; at < bytes; at++)
		hash = (hash ^ byte[at]) * UINT64_C(0x100000001b3);
	return hash ^ (hash >> 32);
}

/* The slot of the key, or the free one where it belongs. At least a quarter of them is free. */
static uint32_t *find_slot(const struct script_names *names, uint64_t hash, const void *key,
			   size_t bytes)
{
	size_t mask = names->slot_count - 1;
	size_t at = hash & mask;

	while (names->slots[at]) {
		const struct script_names_key *found = names->keys[names->slots[at] - 1];

		if (found->hash == hash && found->bytes == bytes && !memcmp(found->key, key, bytes))
			break;
		at = (at + 1) & mask;
	}
	return &names->slots[at];
}

static int grow_slots(struct script_names *names)
{
	size_t count = names->slot_count ? names->slot_count * 2 : SLOTS_FIRST;
	uint32_t *slots = alloc_zeroed(count, sizeof(*slots));
	size_t number;

	if (!slots)
		return -ENOMEM;
	for (number = 0; number < names->count; number++) {
		size_t at = names->keys[number]->hash & (count - 1);

		while (slots[at])
			at = (at + 1) & (count - 1);
		slots[at] = (uint32_t)number + 1;
	}
	alloc_free(names->slots);
	names->slots = slots;
	names->slot_count = count;
	return 0;
}

static struct script_names_key *make_key(uint64_t hash, const void *bytes, size_t count)
{
	struct script_names_key *key = alloc_array(1, sizeof(*key) + count + 1);

	if (!key)
		return NULL;
	key->hash = hash;
	key->bytes = count;
	memcpy(key->key, bytes, count);
	key->key[count] = 0;
	return key;
}

int script_names_add(struct script_names *names, const void *key, size_t bytes, uint32_t *number)
{
	uint64_t hash = key_hash(key, bytes);
	struct script_names_key **keys;
	uint32_t *slot;

	if (names->count >= names->slot_count / 4 * 3 && grow_slots(names))
		return -ENOMEM;
	slot = find_slot(names, hash, key, bytes);
	if (*slot) {
		*number = *slot - 1;
		return 0;
	}
	if (names->count >= UINT32_MAX / 2)
		return -EOVERFLOW;
	keys = array_grow(names->keys, names->count, 1, &names->capacity, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	names->keys = keys;
	keys[names->count] = make_key(hash, key, bytes);
	if (!keys[names->count])
		return -ENOMEM;
	*number = (uint32_t)names->count++;
	*slot = *number + 1;
	return 0;
}

const void *script_names_at(const struct script_names *names, uint32_t number)
{
	return names->keys[number]->key;
}

void script_names_destroy(struct script_names *names)
{
	size_t at;

	for (at = 0; at < names->count; at++)
		alloc_free(names->keys[at]);
	alloc_free(names->keys);
	alloc_free(names->slots);
	memset(names, 0, sizeof(*names));
}
