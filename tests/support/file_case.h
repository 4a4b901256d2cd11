/* SPDX-License-Identifier: MIT */
/*
 * A small forest for tests of files: with an observer that sums all changes of data
 * references, to be compared with what the items of the trees say. Without snapshots: the
 * references of what they share are not the items' own.
 */
#ifndef REFSTORM_TEST_FILE_CASE_H
#define REFSTORM_TEST_FILE_CASE_H

#include <pthread.h>

#include "core/forest/file.h"

#define FILE_CASE_ROOTS 4U
#define FILE_CASE_REFS (1U << 16)

struct file_case_ref {
	uint64_t bytenr;
	uint64_t root;
	uint64_t owner;
	uint64_t offset;
	int64_t count;
};

struct file_case {
	struct rs_forest *forest;
	struct rs_writer *writer;
	struct rs_subvol *roots[FILE_CASE_ROOTS];
	unsigned root_count;
	struct rs_observer observer;
	pthread_mutex_t mutex;      /* protects what follows */
	struct file_case_ref *refs; /* by hash; bytenr 0: none */
	uint64_t calls;             /* changes of data references */
};

/* With `roots` subvolumes "v0", "v1" and so on. `capacity` 0: the default. */
void file_case_begin(struct file_case *test, unsigned roots, uint64_t capacity);
void file_case_end(struct file_case *test);

/* Makes or finds the file. */
uint64_t file_case_file(struct file_case *test, struct rs_subvol *root, const char *name);

/* All items of the file. How many; more than `capacity` is a failure of the test. */
size_t file_case_items(struct rs_subvol *root, uint64_t inode, struct file_extent *items,
		       size_t capacity);

/*
 * All roots: items of a file are in order and apart, none behind its end, their bytes are the
 * inode's; and the references that the observer has seen are those of the items. Returns what
 * is wrong, printed.
 */
unsigned file_case_wrong(struct file_case *test);

/* The same of the back references in the extent index, behind a commit. */
unsigned file_case_index_wrong(struct file_case *test);

#endif /* REFSTORM_TEST_FILE_CASE_H */
