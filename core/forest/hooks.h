/* SPDX-License-Identifier: MIT */
/*
 * What a forest tells the accounts that are kept of it. It knows nothing else of them.
 *
 * Who may call: all but `trace` the holder of the commit lock, with writers stopped; `trace` writers, each inside
 * a transaction. In a commit: begin, a head for each that is run, settle, deleted for each root that goes, finish.
 */
#ifndef REFSTORM_FOREST_HOOKS_H
#define REFSTORM_FOREST_HOOKS_H

#include "core/forest/extent_index.h"

struct forest_accounts;
struct rs_subvol;

struct forest_hooks {
	/* The commit that follows makes this root; NULL: none. */
	void (*begin)(struct forest_accounts *accounts, const struct rs_subvol *snapshot);
	/* A head was applied. */
	void (*head)(struct forest_accounts *accounts, const struct rs_head *head,
		     const struct extent_result *result);
	/* All heads of a transaction were. */
	void (*settle)(struct forest_accounts *accounts, struct rs_subvol *snapshot);
	void (*deleted)(struct forest_accounts *accounts, struct rs_subvol *root);
	/* The commit of this generation is about to be seen. */
	void (*finish)(struct forest_accounts *accounts, uint64_t generation);
	/* A reference of the extent is about to change. NULL: that is not to be told. */
	void (*trace)(struct forest_accounts *accounts, uint64_t bytenr, uint64_t bytes,
		      bool metadata);
	/* The forest goes. No lock is held, and nobody else uses the forest. */
	void (*destroy)(struct forest_accounts *accounts);
	bool root_deltas; /* are to be recorded */
};

/* The first member of the accounts. */
struct forest_accounts {
	const struct forest_hooks *hooks;
};

#endif /* REFSTORM_FOREST_HOOKS_H */
