/* SPDX-License-Identifier: MIT */
#include "stress/oracle/refverify_impl.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* References and roots that the text names; of more it gives the number. */
#define TEXT_LINES_MAX 32U

struct text {
	char *at;
	size_t left; /* the final 0 too */
};

static void put_list(struct text *text, const char *format, va_list arguments)
	__attribute__((format(printf, 2, 0)));

static void put_list(struct text *text, const char *format, va_list arguments)
{
	int wanted = vsnprintf(text->at, text->left, format, arguments);
	size_t put = wanted < 0 ? 0 : (size_t)wanted;

	if (put >= text->left)
		put = text->left - 1;
	text->at += put;
	text->left -= put;
}

static void put(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put_list(text, format, arguments);
	va_end(arguments);
}

static const char *kind_name(enum rs_ref_kind kind)
{
	switch (kind) {
	case RS_REF_ALLOCATE:
		return "allocate";
	case RS_REF_ADD:
		return "add";
	case RS_REF_DROP:
		return "drop";
	}
	return "unknown action";
}

/* "refstorm+0x1a2b3 rs_file_write": for addr2line, and the name where it is a public one. */
static void put_frame(struct text *text, uintptr_t frame)
{
	const char *file;
	Dl_info info;

	/* The address is the one to return to, behind the call. */
	if (!dladdr((void *)(frame - 1), &info) || !info.dli_fname) {
		put(text, "      %#" PRIxPTR "\n", frame);
		return;
	}
	file = strrchr(info.dli_fname, '/');
	put(text, "      %s+%#" PRIxPTR " %s\n", file ? file + 1 : info.dli_fname,
	    frame - 1 - (uintptr_t)info.dli_fbase, info.dli_sname ? info.dli_sname : "");
}

static void put_action(struct text *text, const struct refverify_action *action)
{
	const struct rs_ref_action *what = &action->action;
	uint32_t frame;

	put(text,
	    "    %s %s [%" PRIu64 " %" PRIu64 "] root %" PRIu64 ", parent %" PRIu64
	    ", owner %" PRIu64 ", offset %" PRIu64 ", by tree %" PRIu64 "\n",
	    kind_name(what->kind), what->metadata ? "tree block" : "data", what->bytenr,
	    what->bytes, what->root, what->parent, what->owner, what->offset, what->real_root);
	for (frame = 0; frame < action->frame_count; frame++)
		put_frame(text, action->frames[frame]);
}

static void put_references(struct text *text, const struct refverify_entry *entry)
{
	size_t at;

	for (at = 0; at < entry->ref_count && at < TEXT_LINES_MAX; at++) {
		const struct refverify_ref *ref = &entry->ref[at];

		put(text,
		    "  reference: root %" PRIu64 ", parent %" PRIu64 ", owner %" PRIu64
		    ", offset %" PRIu64 ", count %" PRIu64 "\n",
		    ref->root, ref->parent, ref->owner, ref->offset, ref->count);
	}
	if (at < entry->ref_count)
		put(text, "  and %zu references more\n", entry->ref_count - at);
	for (at = 0; at < entry->root_count && at < TEXT_LINES_MAX; at++)
		put(text, "  root %" PRIu64 ": count %" PRIu64 "\n", entry->root[at].root,
		    entry->root[at].count);
	if (at < entry->root_count)
		put(text, "  and %zu roots more\n", entry->root_count - at);
}

static void put_entry(struct text *text, const struct refverify *verify,
		      const struct refverify_entry *entry)
{
	uint32_t at;

	put(text, "entry [%" PRIu64 " %" PRIu64 "]: %" PRIu64 " references, %s%s\n", entry->bytenr,
	    entry->bytes, entry->refs, entry->metadata ? "tree block" : "data",
	    entry->from_disk ? ", from disk" : "");
	put_references(text, entry);
	put(text, "  history, oldest first, %" PRIu64 " older left out:\n", entry->dropped);
	for (at = 0; at < entry->action_count; at++)
		put_action(text, refverify_history_at(verify, entry, at));
}

const char *refverify_describe(struct refverify *verify, uint64_t bytenr, char *text, size_t bytes)
{
	struct refverify_shard *shard = refverify_entry_shard(verify, bytenr);
	const struct refverify_entry *entry;
	struct text to = { text, bytes };

	text[0] = 0;
	pthread_mutex_lock(&shard->lock);
	entry = refverify_entry_find(shard, bytenr);
	if (entry)
		put_entry(&to, verify, entry);
	pthread_mutex_unlock(&shard->lock);
	return text;
}

int refverify_fail(struct refverify *verify, const struct refverify_entry *entry,
		   const struct refverify_action *action, const char *format, ...)
{
	struct text text = { verify->text, sizeof(verify->text) };
	va_list arguments;

	/* Relaxed: the number alone counts; the text has its lock. */
	if (order_fetch_add_relaxed(&verify->failures, 1))
		return -EUCLEAN;
	pthread_mutex_lock(&verify->text_lock);
	va_start(arguments, format);
	put_list(&text, format, arguments);
	va_end(arguments);
	put(&text, "\n");
	if (action) {
		put(&text, "action:\n");
		put_action(&text, action);
	}
	if (entry)
		put_entry(&text, verify, entry);
	pthread_mutex_unlock(&verify->text_lock);
	return -EUCLEAN;
}
