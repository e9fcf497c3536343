
/*
 * Records and pooled tables: how they begin, and whether bytes are such.
 */


#include "prd_experts_inner.h"


void
prd_track_init(prd_track_t *t)
{
    memset(t, 0, sizeof(prd_track_t));

    t->version = PRD_TRACK_VERSION;
    t->size = sizeof(prd_track_t);
}


prd_rc_t
prd_tracks_init(prd_tracks_t *p, const uint32_t bin_s[PRD_TRACK_CLASSES])
{
    unsigned             i, k, e, profile;
    prd_track_errors_t  *t;

    static const float  prior[PRD_QUANTILES] = { 0, 2, 3, 5 };

    profile = PRD_TRACK_CLASSES;

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {

        if (bin_s[i] > 86400) {
            return PRD_ERANGE;
        }

        if (bin_s[i] && (profile == PRD_TRACK_CLASSES
                         || (bin_s[i] <= 3600 && bin_s[i] > bin_s[profile])))
        {
            profile = i;
        }
    }

    if (profile == PRD_TRACK_CLASSES) {
        return PRD_ERANGE;
    }

    memset(p, 0, sizeof(prd_tracks_t));

    p->version = PRD_TRACK_VERSION;
    p->size = sizeof(prd_tracks_t);
    p->profile = profile;
    p->whole = 1;
    memcpy(p->bin_s, bin_s, sizeof(p->bin_s));

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {
        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            for (e = 0; e < PRD_EXPERT_LOCATIONS; e++) {
                t = &p->horizon[i][k].errors[e][PRD_TRACK_ALL];
                memcpy(t->q, prior, sizeof(prior));
            }
        }
    }

    return PRD_OK;
}


prd_rc_t
prd_tracks_check(const prd_tracks_t *p, size_t size)
{
    unsigned                    i, k, e, j, n;
    prd_rc_t                    rc;
    const float                *f;
    const double               *d;
    const prd_track_errors_t   *t;
    const prd_track_horizon_t  *h;

    if (size != sizeof(prd_tracks_t) || p->version != PRD_TRACK_VERSION
        || p->size != sizeof(prd_tracks_t))
    {
        return PRD_EVERSION;
    }

    rc = p->profile < PRD_TRACK_CLASSES && p->bin_s[p->profile]
         ? PRD_OK : PRD_ECORRUPT;

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {

        if (p->bin_s[i] > 86400) {
            rc = PRD_ECORRUPT;
        }

        for (k = 0; k < PRD_TRACK_HORIZONS; k++) {
            h = &p->horizon[i][k];

            for (e = 0; e < PRD_EXPERT_LOCATIONS; e++) {
                for (j = 0; j < PRD_TRACK_STATES; j++) {
                    t = &h->errors[e][j];

                    for (n = 0; n < PRD_QUANTILES; n++) {
                        if (!(fabsf(t->q[n]) <= 4096)
                            || (n && t->q[n] < t->q[n - 1]))
                        {
                            rc = PRD_ECORRUPT;
                        }
                    }
                }
            }

            for (j = 0; j < PRD_TRACK_STATES; j++) {
                f = &h->state[j].votes;

                for (n = 0; n < sizeof(h->state[j]) / sizeof(float); n++) {
                    if (!(fabsf(f[n]) <= 1000)) {
                        rc = PRD_ECORRUPT;
                    }
                }
            }

            for (j = 0; j < PRD_TRACK_STATES; j++) {
                f = h->anchor[j].width;

                for (n = 0; n < PRD_QUANTILES - 1; n++) {
                    if (!(fabsf(f[n]) <= 1000)) {
                        rc = PRD_ECORRUPT;
                    }
                }
            }

            d = &h->score.n;

            for (j = 0; j < sizeof(h->score) / sizeof(double); j++) {
                if (!(d[j] >= 0 && d[j] <= 1e30)) {
                    rc = PRD_ECORRUPT;
                }
            }
        }
    }

    return rc;
}


prd_rc_t
prd_track_check(const prd_track_t *t, size_t size)
{
    unsigned                 i, k;
    const float             *f;
    const prd_track_bins_t  *b;

    if (size != sizeof(prd_track_t)) {
        return PRD_EVERSION;
    }

    if (t->version == 0 && t->size == 0) {
        return PRD_OK;
    }

    if (t->version != PRD_TRACK_VERSION || t->size != sizeof(prd_track_t)) {
        return PRD_EVERSION;
    }

    for (i = 0; i < PRD_TRACK_CLASSES; i++) {
        b = &t->bins[i];

        if (b->head >= PRD_TRACK_RING || b->filled > PRD_TRACK_RING
            || b->period > TRACK_LAGS)
        {
            return PRD_ECORRUPT;
        }

        f = &b->last;

        for (k = 0; k < 11; k++) {
            if (!(fabsf(f[k]) <= 2 * PRD_TRACK_Y_MAX)
                || (f[k] < 0 && &f[k] != &b->trend))
            {
                return PRD_ECORRUPT;
            }
        }

        if (b->age && (b->filled == 0 || b->scale < TRACK_SCALE_MIN)) {
            return PRD_ECORRUPT;
        }

        for (k = 0; k < PRD_TRACK_WAIT; k++) {
            if (b->wait[k].state >= PRD_TRACK_IDLE
                || b->wait[k].due
                   > prd_track_aheads[1 + k / PRD_TRACK_FAR])
            {
                return PRD_ECORRUPT;
            }
        }
    }

    return PRD_OK;
}
