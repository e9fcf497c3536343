
/*
 * The script by which nodes share limits: one call for up to 64 entries.  Lua
 * 5.1 as Redis has it; time is the store's alone.
 *
 * KEYS     clients, prefix:1:{zone:sNNN}:tag as 16 digits; or others, if the
 *          names end alike
 * ARGV[1]  prd_lease_header()
 * ARGV[2]  prd_lease_pack(), an entry after the other
 * reply    one string, prd_lease_read()
 *
 * A client's value, little-endian, levels in units of the zone:
 *
 *   version u8 = 1 | level f64 | time, ms, f64 | backlog f32 |
 *   2 x second in which it was put among the active, 1: whole tokens, u32 |
 *   since its home looked last: admitted u32, what of it is no demand u32 (401,
 *   403; what is more than was admitted goes on, for a minute), peak u32 |
 *   version of the envelope u16 | envelope u64 | profile, at most 64 bytes
 *
 * What cannot be read counts as absent and is overwritten; a key of another
 * type is left alone and reported.
 */


#ifndef PRD_SCRIPT_H_INCLUDED
#define PRD_SCRIPT_H_INCLUDED


extern const char  prd_script_batch[];


#endif /* PRD_SCRIPT_H_INCLUDED */
