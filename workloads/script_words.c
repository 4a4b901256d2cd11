/* SPDX-License-Identifier: MIT */
#include "workloads/script_words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ERRNO_END 256

const struct script_word script_words[SCRIPT_KINDS] = {
	[SCRIPT_WRITE] = { "write", NULL, "VFOL", "V F OFF LEN" },
	[SCRIPT_CLONE] = { "clone", NULL, "VFOLvfo", "V F OFF LEN V2 F2 OFF2" },
	[SCRIPT_DEDUPE] = { "dedupe", NULL, "VFOLvfo", "V F OFF LEN V2 F2 OFF2" },
	[SCRIPT_TRUNCATE] = { "truncate", NULL, "VFS", "V F SIZE" },
	[SCRIPT_PUNCH] = { "punch", NULL, "VFOL", "V F OFF LEN" },
	[SCRIPT_FALLOCATE] = { "fallocate", NULL, "VFOL", "V F OFF LEN" },
	[SCRIPT_UNLINK] = { "unlink", NULL, "VF", "V F" },
	[SCRIPT_DEFRAG] = { "defrag", NULL, "VF", "V F" },
	[SCRIPT_SUBVOL] = { "subvol", NULL, "n", "V" },
	[SCRIPT_SNAPSHOT] = { "snapshot", NULL, "rVNg", "[-r] SRC DST [group L/ID ...]" },
	[SCRIPT_DELETE] = { "delete", NULL, "V", "V" },
	[SCRIPT_COMMIT] = { "commit", NULL, "", "nothing more" },
	[SCRIPT_DROP_WAIT] = { "drop-wait", NULL, "", "nothing more" },
	[SCRIPT_BALANCE] = { "balance", NULL, "", "nothing more" },
	[SCRIPT_CHECK] = { "check", NULL, "", "nothing more" },
	[SCRIPT_QUOTA_ON] = { "quota", "on", "e", "[ledger|extent|oper|simple]" },
	[SCRIPT_QUOTA_OFF] = { "quota", "off", "", "nothing more" },
	[SCRIPT_RESCAN_START] = { "rescan", "start", "", "nothing more" },
	[SCRIPT_RESCAN_WAIT] = { "rescan", "wait", "", "nothing more" },
	[SCRIPT_RESCAN_PAUSE] = { "rescan", "pause", "", "nothing more" },
	[SCRIPT_RESCAN_RESUME] = { "rescan", "resume", "", "nothing more" },
	[SCRIPT_RESCAN_CANCEL] = { "rescan", "cancel", "", "nothing more" },
	[SCRIPT_GROUP_CREATE] = { "group", "create", "H", "L/ID" },
	[SCRIPT_GROUP_REMOVE] = { "group", "remove", "G", "G" },
	[SCRIPT_GROUP_ASSIGN] = { "group", "assign", "GG", "G G" },
	[SCRIPT_GROUP_UNASSIGN] = { "group", "unassign", "GG", "G G" },
	[SCRIPT_LIMIT] = { "limit", NULL, "Gk", "G rfer|excl N|none" },
	[SCRIPT_DIRTY] = { "dirty", NULL, "VFOL", "V F OFF LEN" },
	[SCRIPT_FLUSH] = { "flush", NULL, "?V?F", "[V [F]]" },
	[SCRIPT_DROP_DIRTY] = { "drop-dirty", NULL, "VFOL", "V F OFF LEN" },
	/* Before the other one: whatever follows, "expect reclaim" is this. */
	[SCRIPT_EXPECT_RECLAIM] = { "expect", "reclaim", "R", "V... N" },
	[SCRIPT_EXPECT] = { "expect", NULL, "Gx", "G [data-]rfer N [data-]excl N" },
};

const char *script_words_name(char *text, enum script_kind kind)
{
	const struct script_word *word = &script_words[kind];

	snprintf(text, SCRIPT_WORDS_NAME_BYTES, "%s%s%s", word->word, word->second ? " " : "",
		 word->second ? word->second : "");
	return text;
}

int script_words_errno(const char *name, size_t length)
{
	/* Second names of numbers that the C library knows by another one. */
	static const struct {
		const char *name;
		int number;
	} others[] = { { "EWOULDBLOCK", EWOULDBLOCK },
		       { "ENOTSUP", ENOTSUP },
		       { "EDEADLOCK", EDEADLOCK } };
	size_t at;
	int number;

	for (number = 1; number < ERRNO_END; number++) {
		const char *known = strerrorname_np(number);

		if (known && strlen(known) == length && !memcmp(known, name, length))
			return number;
	}
	for (at = 0; at < sizeof(others) / sizeof(others[0]); at++)
		if (strlen(others[at].name) == length && !memcmp(others[at].name, name, length))
			return others[at].number;
	return 0;
}

const char *script_words_errno_name(char *text, int number)
{
	const char *known = strerrorname_np(number);

	if (known)
		snprintf(text, SCRIPT_WORDS_NAME_BYTES, "%s", known);
	else
		snprintf(text, SCRIPT_WORDS_NAME_BYTES, "error %d", number);
	return text;
}
