/* SPDX-License-Identifier: MIT */
#include "stress/oracle/refverify_impl.h"

#include <errno.h>
#include <string.h>
#include <unwind.h>

#include "core/base/alloc.h"

/* refverify_history_capture and refverify_ref. */
#define OWN_FRAMES 2U

static size_t action_bytes(const struct refverify *verify)
{
	return sizeof(struct refverify_action) + verify->trace_depth * sizeof(uintptr_t);
}

struct capture {
	struct refverify_action *out;
	unsigned depth;
	unsigned skip;
};

static _Unwind_Reason_Code capture_frame(struct _Unwind_Context *context, void *argument)
{
	struct capture *capture = argument;
	uintptr_t address = _Unwind_GetIP(context);

	if (!address)
		return _URC_END_OF_STACK;
	if (capture->skip) {
		capture->skip--;
		return _URC_NO_REASON;
	}
	capture->out->frames[capture->out->frame_count++] = address;
	return capture->out->frame_count < capture->depth ? _URC_NO_REASON : _URC_END_OF_STACK;
}

void refverify_history_capture(const struct refverify *verify, const struct rs_ref_action *action,
			       struct refverify_action *out)
{
	struct capture capture = { .out = out, .depth = verify->trace_depth, .skip = OWN_FRAMES };

	out->action = *action;
	out->frame_count = 0;
	if (verify->trace_depth)
		_Unwind_Backtrace(capture_frame, &capture);
}

static uint8_t *slot_of(const struct refverify *verify, const struct refverify_entry *entry,
			uint32_t number)
{
	uint32_t slot = (entry->action_first + number) % entry->action_capacity;

	return entry->actions + slot * action_bytes(verify);
}

const struct refverify_action *refverify_history_at(const struct refverify *verify,
						    const struct refverify_entry *entry,
						    uint32_t number)
{
	return (const struct refverify_action *)(const void *)slot_of(verify, entry, number);
}

int refverify_history_reserve(const struct refverify *verify, struct refverify_entry *entry)
{
	uint32_t capacity = entry->action_capacity ? entry->action_capacity * 2 : 2;
	uint8_t *actions;

	if (entry->action_count < entry->action_capacity ||
	    entry->action_capacity >= verify->history)
		return 0;
	capacity = capacity < verify->history ? capacity : verify->history;
	/* It has not gone round yet: that begins when it has its full size. */
	actions = alloc_resize(entry->actions, capacity, action_bytes(verify));
	if (!actions)
		return -ENOMEM;
	entry->actions = actions;
	entry->action_capacity = capacity;
	return 0;
}

bool refverify_history_add(const struct refverify *verify, struct refverify_entry *entry,
			   const struct refverify_action *action)
{
	bool full = entry->action_count == entry->action_capacity;

	if (full) {
		entry->action_first = (entry->action_first + 1) % entry->action_capacity;
		entry->action_count--;
		entry->dropped++;
	}
	memcpy(slot_of(verify, entry, entry->action_count), action,
	       sizeof(*action) + action->frame_count * sizeof(uintptr_t));
	entry->action_count++;
	return full;
}

void refverify_history_clear(struct refverify_entry *entry)
{
	entry->action_first = 0;
	entry->action_count = 0;
	entry->dropped = 0;
}
