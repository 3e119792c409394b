/* heap: see heap.h.
 *
 * Blocks are in a hash table by address, which forgets what is given back: a program frees nearly all that it
 * allocates. Mappings are few, and parts of them are given back: they are a sorted list. Both grow with what
 * is live, 32 bytes a block.
 */
#include "feed/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"

#define BLOCKS_FIRST 4096
#define PAGE 4096

/* Blocks that are being moved, one for each thread; beyond it the oldest is taken for moved. */
#define MOVING_MAX 4096

/* address 0: an empty slot. */
struct block {
    uint64_t address;
    uint64_t size;
    uint32_t site;
};

/* From start to before end. part: a piece that was cut off, whose end is nobody's free. */
struct mapping {
    uint64_t start, end;
    uint32_t site;
    bool part;
};

/* What is at the old address of a move. counted: it was announced; frees: so many were counted for it. */
struct moving {
    uint32_t token;
    bool mapping;
    bool counted;
    uint64_t frees;
    struct block block;
};

/* Invariants: block_cap is a power of two, more than half of the slots are empty, and no empty one is between
 * a block and where its hash points. mappings do not overlap and are in order. peaks: how many there were,
 * each higher than the one before. */
struct heap {
    struct heap_sum sum;
    uint64_t peaks;
    struct block *blocks;
    size_t block_cap, block_count;
    struct mapping *mappings;
    size_t mapping_count, mapping_cap;
    struct moving *moving;
    size_t moving_count, moving_cap;
    struct heap_site *sites;
    size_t site_count, site_cap;
    struct map site_of; /* by stack */
};

int heap_new(struct heap **out)
{
    struct heap *h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    map_init(&h->site_of);
    h->block_cap = BLOCKS_FIRST;
    h->blocks = calloc(h->block_cap, sizeof(*h->blocks));
    if (!h->blocks) {
        heap_free(h);
        return -ENOMEM;
    }
    *out = h;
    return 0;
}

void heap_free(struct heap *h)
{
    if (!h)
        return;
    free(h->blocks);
    free(h->mappings);
    free(h->moving);
    free(h->sites);
    map_release(&h->site_of);
    free(h);
}

/* Sums -------------------------------------------------------------------------------------------------- */

/* The site of a stack; false: no memory. */
static bool find_site(struct heap *h, uint32_t stack, uint32_t *site)
{
    *site = map_get(&h->site_of, stack);
    if (*site != MAP_NONE)
        return true;
    struct heap_site *sites = list_room(h->sites, &h->site_cap, h->site_count, sizeof(*sites));
    if (!sites)
        return false;
    h->sites = sites;
    *site = (uint32_t)h->site_count;
    sites[h->site_count] = (struct heap_site){.stack = stack, .peak_of = h->peaks};
    if (map_put(&h->site_of, stack, *site) != 0)
        return false;
    h->site_count++;
    return true;
}

static uint64_t live_of(const struct heap_site *site)
{
    return site->allocated - site->freed;
}

/* To be called before a site's bytes change. */
static void note_peak(const struct heap *h, struct heap_site *site)
{
    if (site->peak_of != h->peaks)
        site->peak = live_of(site);
    site->peak_of = h->peaks;
}

static void add(struct heap *h, uint32_t index, uint64_t bytes, bool counts)
{
    struct heap_site *site = &h->sites[index];
    note_peak(h, site);
    site->allocated += bytes;
    site->allocations += counts;
    h->sum.allocations += counts;
    h->sum.live += bytes;
}

static void subtract(struct heap *h, uint32_t index, uint64_t bytes, bool counts)
{
    struct heap_site *site = &h->sites[index];
    note_peak(h, site);
    site->freed += bytes;
    site->frees += counts;
    h->sum.live -= bytes;
}

static void look_for_peak(struct heap *h, uint64_t now_ns)
{
    if (h->sum.live <= h->sum.peak)
        return;
    h->sum.peak = h->sum.live;
    h->sum.peak_ns = now_ns;
    h->peaks++;
}

/* Blocks ------------------------------------------------------------------------------------------------ */

static size_t slot_of(const struct heap *h, uint64_t address)
{
    return (address * 0x9e3779b97f4a7c15u >> 20) & (h->block_cap - 1);
}

/* Where a block is, or could be put. */
static struct block *find_block(const struct heap *h, uint64_t address)
{
    size_t i = slot_of(h, address);
    while (h->blocks[i].address && h->blocks[i].address != address)
        i = (i + 1) & (h->block_cap - 1);
    return &h->blocks[i];
}

static bool make_room(struct heap *h)
{
    if (h->block_count < h->block_cap / 2)
        return true;
    struct block *old = h->blocks;
    size_t old_cap = h->block_cap;
    struct block *blocks = calloc(old_cap * 2, sizeof(*blocks));
    if (!blocks)
        return h->block_count < h->block_cap / 8 * 7;
    h->blocks = blocks;
    h->block_cap = old_cap * 2;
    for (size_t i = 0; i < old_cap; i++) {
        if (old[i].address)
            *find_block(h, old[i].address) = old[i];
    }
    free(old);
    return true;
}

/* Takes a block out: what was put behind it for want of its slot moves up. */
static void remove_block(struct heap *h, struct block *block)
{
    size_t mask = h->block_cap - 1, hole = (size_t)(block - h->blocks);
    for (size_t i = (hole + 1) & mask; h->blocks[i].address; i = (i + 1) & mask) {
        size_t home = slot_of(h, h->blocks[i].address);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        h->blocks[hole] = h->blocks[i];
        hole = i;
    }
    h->blocks[hole].address = 0;
    h->block_count--;
}

/* Ends the life of a block, if it is known; *was: it. */
static bool take_out(struct heap *h, uint64_t address, struct block *was)
{
    struct block *block = find_block(h, address);
    if (!block->address)
        return false;
    *was = *block;
    remove_block(h, block);
    return true;
}

static void release(struct heap *h, uint64_t address)
{
    struct block was;
    if (address && take_out(h, address, &was))
        subtract(h, was.site, was.size, true);
}

static void put_block(struct heap *h, const struct block *new)
{
    struct block *block = make_room(h) ? find_block(h, new->address) : NULL;
    if (!block) {
        h->sum.lost++;
        return;
    }
    *block = *new;
    h->block_count++;
}

static void allocate(struct heap *h, const struct channel_event *e, uint64_t now_ns)
{
    struct block new = {.address = e->address, .size = e->size};
    release(h, e->address);
    if (!e->address || !find_site(h, e->stack, &new.site)) {
        h->sum.lost += e->address != 0;
        return;
    }
    add(h, new.site, new.size, true);
    put_block(h, &new);
    look_for_peak(h, now_ns);
}

/* Mappings ---------------------------------------------------------------------------------------------- */

/* The first mapping that ends behind `at`. */
static size_t first_behind(const struct heap *h, uint64_t at)
{
    size_t i = list_up_to(h->mappings, h->mapping_count, sizeof(*h->mappings), at);
    return i && h->mappings[i - 1].end > at ? i - 1 : i;
}

static bool insert_mapping(struct heap *h, size_t at, struct mapping new)
{
    struct mapping *list = list_room(h->mappings, &h->mapping_cap, h->mapping_count, sizeof(*list));
    if (!list) {
        h->sum.lost++;
        return false;
    }
    h->mappings = list;
    memmove(list + at + 1, list + at, (h->mapping_count - at) * sizeof(*list));
    list[at] = new;
    h->mapping_count++;
    return true;
}

static void delete_mapping(struct heap *h, size_t at)
{
    h->mapping_count--;
    memmove(h->mappings + at, h->mappings + at + 1, (h->mapping_count - at) * sizeof(*h->mappings));
}

/* Takes the part from start to end out of mapping i. True: i is the next one now. */
static bool cut_mapping(struct heap *h, size_t i, uint64_t start, uint64_t end)
{
    struct mapping *m = &h->mappings[i];
    struct mapping rest = {.start = end, .end = m->end, .site = m->site, .part = true};
    start = max_u64(start, m->start);
    end = min_u64(end, m->end);
    bool whole = start == m->start && end == m->end;
    subtract(h, m->site, end - start, whole && !m->part);
    if (whole) {
        delete_mapping(h, i);
        return true;
    }
    if (start == m->start) {
        m->start = end;
        return false;
    }
    m->end = start;
    if (rest.start < rest.end && !insert_mapping(h, i + 1, rest))
        subtract(h, rest.site, rest.end - rest.start, false);
    return false;
}

static void unmap(struct heap *h, uint64_t start, uint64_t size)
{
    uint64_t end = start + (size + PAGE - 1) / PAGE * PAGE;
    if (end <= start)
        return;
    for (size_t i = first_behind(h, start); i < h->mapping_count && h->mappings[i].start < end;)
        i += cut_mapping(h, i, start, end) ? 0 : 1;
}

static void map_memory(struct heap *h, const struct channel_event *e, uint64_t now_ns)
{
    struct mapping new = {.start = e->address, .end = e->address + e->size};
    unmap(h, e->address, e->size);
    if (new.end <= new.start)
        return;
    if (!find_site(h, e->stack, &new.site)) {
        h->sum.lost++;
        return;
    }
    if (insert_mapping(h, first_behind(h, new.start), new))
        add(h, new.site, e->size, true);
    look_for_peak(h, now_ns);
}

/* Moves ------------------------------------------------------------------------------------------------- */

static void begin_move(struct heap *h, struct moving new)
{
    if (h->moving_count == MOVING_MAX) {
        h->moving_count--;
        memmove(h->moving, h->moving + 1, h->moving_count * sizeof(*h->moving));
    }
    struct moving *list = list_room(h->moving, &h->moving_cap, h->moving_count, sizeof(*list));
    if (!list) {
        h->sum.lost++;
        return;
    }
    h->moving = list;
    list[h->moving_count++] = new;
}

static bool end_move(struct heap *h, uint32_t token, struct moving *out)
{
    for (size_t i = h->moving_count; i-- > 0;) {
        if (h->moving[i].token != token)
            continue;
        *out = h->moving[i];
        h->moving[i] = h->moving[--h->moving_count];
        return true;
    }
    return false;
}

static void move(struct heap *h, uint32_t ticket, const struct channel_event *e)
{
    struct moving m = {.token = ticket, .frees = 1};
    m.counted = e->address && take_out(h, e->address, &m.block);
    if (m.counted)
        subtract(h, m.block.site, m.block.size, true);
    begin_move(h, m);
}

static void remap(struct heap *h, uint32_t ticket, const struct channel_event *e)
{
    struct moving m = {.token = ticket, .mapping = true, .block = {.address = e->address}};
    size_t i = first_behind(h, e->address);
    if (i < h->mapping_count) {
        uint64_t live = h->sum.live;
        m.block.site = h->mappings[i].site;
        uint64_t frees = h->sites[m.block.site].frees;
        unmap(h, e->address, e->size);
        m.block.size = live - h->sum.live;
        m.frees = h->sites[m.block.site].frees - frees;
    }
    m.counted = m.block.size != 0;
    begin_move(h, m);
}

/* As if nothing had been: the free that was counted is taken back. */
static void stay(struct heap *h, const struct moving *m, uint64_t now_ns)
{
    struct heap_site *site = &h->sites[m->block.site];
    note_peak(h, site);
    site->freed -= m->block.size;
    site->frees -= m->frees;
    h->sum.live += m->block.size;
    if (m->mapping) {
        struct mapping again = {m->block.address, m->block.address + m->block.size, m->block.site, !m->frees};
        insert_mapping(h, first_behind(h, again.start), again);
    } else {
        put_block(h, &m->block);
    }
    look_for_peak(h, now_ns);
}

static void moved(struct heap *h, const struct channel_event *e, uint64_t now_ns)
{
    struct moving m;
    bool known = end_move(h, e->token, &m);
    if (e->kind == CHANNEL_MOVED)
        allocate(h, e, now_ns);
    else if (known && m.counted && e->kind == CHANNEL_REMAPPED)
        map_memory(h, e, now_ns);
    else if (known && m.counted && e->kind == CHANNEL_STAYED)
        stay(h, &m, now_ns);
}

void heap_take(struct heap *h, uint32_t ticket, const struct channel_event *e, uint64_t now_ns)
{
    switch (e->kind) {
    case CHANNEL_ALLOCATE:
        allocate(h, e, now_ns);
        break;
    case CHANNEL_FREE:
        release(h, e->address);
        break;
    case CHANNEL_MOVE:
        move(h, ticket, e);
        break;
    case CHANNEL_MOVED:
    case CHANNEL_STAYED:
    case CHANNEL_REMAPPED:
        moved(h, e, now_ns);
        break;
    case CHANNEL_MAP:
        map_memory(h, e, now_ns);
        break;
    case CHANNEL_UNMAP:
        unmap(h, e->address, e->size);
        break;
    case CHANNEL_REMAP:
        remap(h, ticket, e);
        break;
    default:
        break;
    }
}

/* Answers ----------------------------------------------------------------------------------------------- */

struct heap_sum heap_sum(const struct heap *h)
{
    return h->sum;
}

const struct heap_site *heap_sites(const struct heap *h, size_t *count)
{
    *count = h->site_count;
    return h->sites;
}

uint64_t heap_at_peak(const struct heap *h, const struct heap_site *site)
{
    return site->peak_of == h->peaks ? site->peak : live_of(site);
}
