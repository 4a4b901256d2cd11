/* SPDX-License-Identifier: MIT */
#include "core/forest/inode.h"

#include <errno.h>
#include <isa-l/crc.h>
#include <sys/stat.h>

#include "core/disk/put.h"
#include "core/forest/trans.h"

#define ENTRY_BYTES ((uint32_t)sizeof(struct btrfs_dir_item))
#define REF_BYTES ((uint32_t)sizeof(struct btrfs_inode_ref))
#define HASH_SEED 0xfffffffeU

/* Indices 0 and 1 stand for "." and "..". */
#define INDEX_FIRST 2U

/* ISA-L only reads what it is given, though its parameter is not const. */
uint32_t inode_name_hash(const char *name, size_t bytes)
{
	return crc32_iscsi((unsigned char *)(uintptr_t)name, (int)bytes, HASH_SEED);
}

bool inode_name_valid(const char *name)
{
	size_t bytes = strlen(name);

	if (!bytes || bytes > INODE_NAME_BYTES_MAX || strchr(name, '/'))
		return false;
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static struct format_key key_of(uint64_t objectid, uint8_t type, uint64_t offset)
{
	struct format_key key = { .objectid = objectid, .offset = offset, .type = type };

	return key;
}

static struct format_key name_key(const char *name)
{
	return key_of(INODE_ROOT, BTRFS_DIR_ITEM_KEY, inode_name_hash(name, strlen(name)));
}

static const uint8_t *item_data(const struct btree_path *path)
{
	return node_item_data(btree_leaf(path), path->slots[0]);
}

static uint32_t item_bytes(const struct btree_path *path)
{
	return node_item_bytes(btree_leaf(path), path->slots[0]);
}

static bool item_exists(struct rs_subvol *root, const struct format_key *key,
			struct btree_path *path)
{
	return btree_find(root, key, path);
}

/*
 * Where in a DIR_ITEM, which has all names of one hash, the entry of this name begins. False:
 * nowhere.
 */
static bool entry_find(const uint8_t *data, uint32_t bytes, const char *name, uint32_t *at)
{
	size_t name_bytes = strlen(name);
	uint32_t here = 0;

	while (bytes - here >= ENTRY_BYTES) {
		const struct btrfs_dir_item *entry = (const void *)(data + here);
		uint32_t own = format_le16(&entry->name_len);
		uint32_t all = ENTRY_BYTES + own + format_le16(&entry->data_len);

		if (all > bytes - here)
			return false;
		if (own == name_bytes && !memcmp(data + here + ENTRY_BYTES, name, own)) {
			*at = here;
			return true;
		}
		here += all;
	}
	return false;
}

int inode_find(struct rs_subvol *root, const char *name, uint64_t *number)
{
	const struct format_key key = name_key(name);
	const struct btrfs_dir_item *entry;
	struct format_key location;
	struct btree_path path;
	uint32_t at;

	if (!item_exists(root, &key, &path) ||
	    !entry_find(item_data(&path), item_bytes(&path), name, &at))
		return -ENOENT;
	entry = (const void *)(item_data(&path) + at);
	location = format_key_read(&entry->location);
	if (location.type != BTRFS_INODE_ITEM_KEY || entry->type == BTRFS_FT_DIR)
		return -EISDIR;
	if (entry->type != BTRFS_FT_REG_FILE)
		return -EINVAL;
	*number = location.objectid;
	return 0;
}

int inode_read(struct rs_subvol *root, uint64_t number, struct inode *inode)
{
	const struct format_key key = key_of(number, BTRFS_INODE_ITEM_KEY, 0);
	const struct btrfs_inode_item *item;
	struct btree_path path;

	if (!item_exists(root, &key, &path) || item_bytes(&path) < sizeof(*item))
		return -ENOENT;
	item = (const void *)item_data(&path);
	inode->size = format_le64(&item->size);
	inode->nbytes = format_le64(&item->nbytes);
	inode->links = format_le32(&item->nlink);
	inode->mode = format_le32(&item->mode);
	return 0;
}

int inode_write(struct rs_writer *writer, struct rs_subvol *root, uint64_t number,
		const struct inode *inode)
{
	const struct format_key key = key_of(number, BTRFS_INODE_ITEM_KEY, 0);
	struct btrfs_inode_item *item;
	struct btree_path path;
	int ret = btree_change(writer, root, &key, &path);

	if (ret <= 0)
		return ret ? ret : -ENOENT;
	item = (void *)btree_item(&path);
	put_le64(&item->transid, writer->generation);
	put_le64(&item->size, inode->size);
	put_le64(&item->nbytes, inode->nbytes);
	put_le32(&item->nlink, inode->links);
	return 0;
}

/*
 * The directory counts each name twice, since it has two items. Images whose directory has no
 * inode item keep none.
 */
static int directory_grow(struct rs_writer *writer, struct rs_subvol *root, int64_t bytes)
{
	struct inode directory;

	if (inode_read(root, INODE_ROOT, &directory))
		return 0;
	directory.size += (uint64_t)(2 * bytes);
	return inode_write(writer, root, INODE_ROOT, &directory);
}

static int item_insert(struct rs_writer *writer, struct rs_subvol *root, struct format_key key,
		       const void *data, uint32_t bytes)
{
	struct btree_path path;
	int ret = btree_insert(writer, root, &key, bytes, &path);

	if (!ret)
		memcpy(btree_item(&path), data, bytes);
	return ret;
}

static int inode_item_insert(struct rs_writer *writer, struct rs_subvol *root, uint64_t number,
			     uint32_t mode)
{
	struct btrfs_inode_item item;

	memset(&item, 0, sizeof(item));
	put_le64(&item.generation, writer->generation);
	put_le64(&item.transid, writer->generation);
	put_le32(&item.nlink, 1);
	put_le32(&item.mode, mode);
	return item_insert(writer, root, key_of(number, BTRFS_INODE_ITEM_KEY, 0), &item,
			   sizeof(item));
}

static int reference_insert(struct rs_writer *writer, struct rs_subvol *root, uint64_t number,
			    uint64_t index, const char *name)
{
	uint8_t data[sizeof(struct btrfs_inode_ref) + INODE_NAME_BYTES_MAX];
	struct btrfs_inode_ref *ref = (void *)data;
	uint32_t name_bytes = (uint32_t)strlen(name);

	put_le64(&ref->index, index);
	put_le16(&ref->name_len, (uint16_t)name_bytes);
	memcpy(data + sizeof(*ref), name, name_bytes);
	return item_insert(writer, root, key_of(number, BTRFS_INODE_REF_KEY, INODE_ROOT), data,
			   REF_BYTES + name_bytes);
}

int inode_root_create(struct rs_writer *writer, struct rs_subvol *root)
{
	int ret = inode_item_insert(writer, root, INODE_ROOT, S_IFDIR | 0755);

	if (ret)
		return ret;
	ret = reference_insert(writer, root, INODE_ROOT, 0, "..");
	if (ret)
		return trans_abort(writer->forest, ret, "a root directory is half made");
	root->next_inode = INODE_ROOT + 1;
	return 0;
}

/* One behind the last in use. */
static uint64_t index_next(struct rs_subvol *root)
{
	const struct format_key end = key_of(INODE_ROOT, BTRFS_DIR_INDEX_KEY, UINT64_MAX);
	struct btree_path path;
	struct format_key last;

	btree_find(root, &end, &path);
	if (!btree_previous(root, &path))
		return INDEX_FIRST;
	last = node_key(btree_leaf(&path), path.slots[0]);
	if (last.objectid != INODE_ROOT || last.type != BTRFS_DIR_INDEX_KEY)
		return INDEX_FIRST;
	return last.offset + 1;
}

/* The name's entry; names of one hash share an item, the new one at its end. */
static int entry_insert(struct rs_writer *writer, struct rs_subvol *root, const char *name,
			const void *entry, uint32_t bytes)
{
	const struct format_key key = name_key(name);
	struct btree_path path;
	uint32_t old;
	int ret = item_insert(writer, root, key, entry, bytes);

	if (ret != -EEXIST)
		return ret;
	ret = btree_change(writer, root, &key, &path);
	if (ret < 0)
		return ret;
	old = item_bytes(&path);
	ret = btree_resize(writer, root, &path, old + bytes);
	if (!ret)
		memcpy(btree_item(&path) + old, entry, bytes);
	return ret;
}

static int name_insert(struct rs_writer *writer, struct rs_subvol *root, const char *name,
		       uint64_t number)
{
	uint8_t data[sizeof(struct btrfs_dir_item) + INODE_NAME_BYTES_MAX];
	const struct format_key location = key_of(number, BTRFS_INODE_ITEM_KEY, 0);
	struct btrfs_dir_item *entry = (void *)data;
	uint32_t name_bytes = (uint32_t)strlen(name);
	uint64_t index = index_next(root);
	int ret;

	put_key(&entry->location, &location);
	put_le64(&entry->transid, writer->generation);
	put_le16(&entry->data_len, 0);
	put_le16(&entry->name_len, (uint16_t)name_bytes);
	entry->type = BTRFS_FT_REG_FILE;
	memcpy(data + ENTRY_BYTES, name, name_bytes);
	ret = entry_insert(writer, root, name, data, ENTRY_BYTES + name_bytes);
	if (!ret)
		ret = item_insert(writer, root, key_of(INODE_ROOT, BTRFS_DIR_INDEX_KEY, index),
				  data, ENTRY_BYTES + name_bytes);
	if (!ret)
		ret = reference_insert(writer, root, number, index, name);
	return ret ? ret : directory_grow(writer, root, name_bytes);
}

int inode_create(struct rs_writer *writer, struct rs_subvol *root, const char *name,
		 uint64_t *number)
{
	int ret = inode_item_insert(writer, root, root->next_inode, S_IFREG | 0600);

	if (ret)
		return ret;
	ret = name_insert(writer, root, name, root->next_inode);
	if (ret)
		return trans_abort(writer->forest, ret, "inode %llu is half made",
				   (unsigned long long)root->next_inode);
	*number = root->next_inode++;
	return 0;
}

/* Takes `bytes` bytes at `at` out of the item, or the item out of the tree if that is all of it. */
static int item_cut(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path,
		    uint32_t at, uint32_t bytes)
{
	uint32_t all = item_bytes(path);
	uint8_t *data = btree_item(path);
	int ret;

	if (bytes == all)
		return btree_delete(writer, root, path, 1);
	memmove(data + at, data + at + bytes, all - at - bytes);
	ret = btree_resize(writer, root, path, all - bytes);
	return ret ? trans_abort(writer->forest, ret, "an item of names is half cut") : 0;
}

/*
 * Where in an INODE_REF, which has all names in one directory, the reference of this name begins.
 */
static bool reference_find(const uint8_t *data, uint32_t bytes, const char *name, uint32_t *at)
{
	size_t name_bytes = strlen(name);
	uint32_t here = 0;

	while (bytes - here >= REF_BYTES) {
		const struct btrfs_inode_ref *ref = (const void *)(data + here);
		uint32_t own = format_le16(&ref->name_len);

		if (own > bytes - here - REF_BYTES)
			return false;
		if (own == name_bytes && !memcmp(data + here + REF_BYTES, name, own)) {
			*at = here;
			return true;
		}
		here += REF_BYTES + own;
	}
	return false;
}

/* The name's number in the directory goes with the reference. */
static int reference_remove(struct rs_writer *writer, struct rs_subvol *root, const char *name,
			    uint64_t number, uint64_t *index)
{
	const struct format_key key = key_of(number, BTRFS_INODE_REF_KEY, INODE_ROOT);
	struct btree_path path;
	uint32_t at;
	int ret = btree_change(writer, root, &key, &path);

	if (ret < 0)
		return ret;
	/* Names that a full INODE_REF has no room for are in INODE_EXTREF items. */
	if (!ret || !reference_find(item_data(&path), item_bytes(&path), name, &at))
		return -EOPNOTSUPP;
	*index = format_le64(item_data(&path) + at);
	return item_cut(writer, root, &path, at, REF_BYTES + (uint32_t)strlen(name));
}

static int index_remove(struct rs_writer *writer, struct rs_subvol *root, uint64_t index)
{
	const struct format_key key = key_of(INODE_ROOT, BTRFS_DIR_INDEX_KEY, index);
	struct btree_path path;
	int ret = btree_change(writer, root, &key, &path);

	if (ret < 0)
		return ret;
	return ret ? btree_delete(writer, root, &path, 1) : -EUCLEAN;
}

static int entry_remove(struct rs_writer *writer, struct rs_subvol *root, const char *name)
{
	const struct format_key key = name_key(name);
	const struct btrfs_dir_item *entry;
	struct btree_path path;
	uint32_t at;
	int ret = btree_change(writer, root, &key, &path);

	if (ret < 0)
		return ret;
	if (!ret || !entry_find(item_data(&path), item_bytes(&path), name, &at))
		return -EUCLEAN;
	entry = (const void *)(item_data(&path) + at);
	return item_cut(writer, root, &path, at,
			ENTRY_BYTES + format_le16(&entry->name_len) +
				format_le16(&entry->data_len));
}

int inode_name_remove(struct rs_writer *writer, struct rs_subvol *root, const char *name,
		      uint64_t number)
{
	uint64_t index;
	int ret = reference_remove(writer, root, name, number, &index);

	if (ret)
		return ret;
	ret = index_remove(writer, root, index);
	if (!ret)
		ret = entry_remove(writer, root, name);
	if (!ret)
		ret = directory_grow(writer, root, -(int64_t)strlen(name));
	if (ret)
		return trans_abort(writer->forest, ret, "the name of inode %llu is half removed",
				   (unsigned long long)number);
	return 0;
}

int inode_items_remove(struct rs_writer *writer, struct rs_subvol *root, uint64_t number)
{
	struct format_key key = key_of(number, 0, 0);
	struct btree_path path;
	uint32_t count = 0;
	uint32_t slot;
	int ret;

	btree_find(root, &key, &path);
	if (!btree_settle(root, &path))
		return 0;
	key = node_key(btree_leaf(&path), path.slots[0]);
	if (key.objectid != number)
		return 0;
	ret = btree_change(writer, root, &key, &path);
	if (ret < 0)
		return ret;
	for (slot = path.slots[0]; slot < node_count(btree_leaf(&path)); slot++, count++) {
		key = node_key(btree_leaf(&path), slot);
		if (key.objectid != number)
			break;
	}
	ret = btree_delete(writer, root, &path, count);
	return ret ? ret : 1;
}
