
/*
 * Parameters as words "name=value", each with the place that it comes from:
 * an option, or a line of nginx.conf.  Later ones replace earlier ones, so
 * that an option overrides the configuration.
 */


#ifndef RPL_WORDS_H_INCLUDED
#define RPL_WORDS_H_INCLUDED


#include "../prd_params.h"
#include "util.h"


#define RPL_WORDS  40


typedef struct {
    prd_str_t    word;                   /* kept */
    const char  *from;                   /* "--rate", "nginx.conf:12" */
} rpl_word_t;

typedef struct {
    rpl_word_t   word[RPL_WORDS];
    size_t       n;
} rpl_words_t;


/* PRD_EFULL: too many of them. */
prd_rc_t rpl_words_set(rpl_words_t *w, prd_str_t word, const char *from);

/*
 * All words, by the grammar of `predictive_zone` and of `predictive`, with
 * what depends on several of them.  On failure *e says which and where.
 */
prd_rc_t rpl_words_zone(const rpl_words_t *w, prd_params_t *p,
    const char *from, rpl_error_t *e);
prd_rc_t rpl_words_limit(const rpl_words_t *w, prd_limit_params_t *p,
    rpl_error_t *e);


#endif /* RPL_WORDS_H_INCLUDED */
