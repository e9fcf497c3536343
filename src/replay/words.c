
#include "words.h"


static size_t
rpl_word_name(prd_str_t word)
{
    const char  *eq;

    eq = memchr(word.data, '=', word.len);

    return eq != NULL ? (size_t) (eq - word.data) : word.len;
}


prd_rc_t
rpl_words_set(rpl_words_t *w, prd_str_t word, const char *from)
{
    size_t  i, len;

    len = rpl_word_name(word);

    for (i = 0; i < w->n; i++) {
        if (rpl_word_name(w->word[i].word) == len
            && memcmp(w->word[i].word.data, word.data, len) == 0
            && strcmp(w->word[i].from, from) != 0)
        {
            break;
        }
    }

    if (i == RPL_WORDS) {
        return PRD_EFULL;
    }

    w->word[i].word = word;
    w->word[i].from = from;
    w->n = prd_max(w->n, i + 1);

    return PRD_OK;
}


prd_rc_t
rpl_words_zone(const rpl_words_t *w, prd_params_t *p, const char *from,
    rpl_error_t *e)
{
    size_t       i;
    prd_rc_t     rc;
    const char  *why;

    prd_params_init(p);

    for (i = 0; i < w->n; i++) {
        rc = prd_params_set(p, w->word[i].word, &why);

        if (rc == PRD_DECLINED) {
            why = "is no parameter of a zone";
        }

        if (rc != PRD_OK) {
            return rpl_error(e, PRD_EINVAL, "%s: \"%.*s\" %s",
                             w->word[i].from, (int) w->word[i].word.len,
                             w->word[i].word.data, why);
        }
    }

    if (prd_params_end(p, &why) != PRD_OK) {
        return rpl_error(e, PRD_EINVAL, "%s: the zone %s", from, why);
    }

    /* a log is replayed as on one host */

    p->store.len = 0;

    return PRD_OK;
}


prd_rc_t
rpl_words_limit(const rpl_words_t *w, prd_limit_params_t *p, rpl_error_t *e)
{
    size_t       i;
    prd_rc_t     rc;
    const char  *why;

    prd_limit_params_init(p);

    for (i = 0; i < w->n; i++) {
        rc = prd_limit_params_set(p, w->word[i].word, &why);

        if (rc == PRD_DECLINED) {
            why = "is no parameter of a limit";
        }

        if (rc != PRD_OK) {
            return rpl_error(e, PRD_EINVAL, "%s: \"%.*s\" %s",
                             w->word[i].from, (int) w->word[i].word.len,
                             w->word[i].word.data, why);
        }
    }

    return PRD_OK;
}
