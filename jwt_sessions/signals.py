"""
Signals of this package.

``pre_issue`` is sent before a token is signed and before anything is stored, outside any transaction of this
package, with ``draft`` (:class:`jwt_sessions.types.Draft`): at sign-in, refresh, renewal and re-authentication, for
another tenant or audience, and when a credential is exchanged. Its sender is the ``Session`` model, or the
``Credential`` model for a credential's token. A receiver may add to ``draft.claims``, change ``draft.expires_in``, or
raise :class:`jwt_sessions.exceptions.IssueDenied`. Any other exception refuses the token too. Receivers run in the
order in which they were connected.

The others tell what has happened, after it was stored. An exception in a receiver is logged and changes nothing.

=========================  ==========================================================================
signal                     arguments besides ``sender`` (the ``Session`` model)
=========================  ==========================================================================
``session_started``        ``session``, ``user``, ``request`` (or ``None``)
``session_refreshed``      ``session``, ``user``, ``request`` (or ``None``), ``rotated`` (bool)
``session_ended``          ``session``, ``reason`` (:class:`jwt_sessions.exceptions.EndReason`)
``refresh_token_reused``   ``session``, ``generation`` of the token presented, ``request`` (or ``None``)
``session_limit_reached``  ``user``, ``limit``, ``policy`` that set it, ``session`` that was started or ``None``
                           if it was refused, ``ended``: the sessions whose place it took
=========================  ==========================================================================
"""

from django.dispatch import Signal

pre_issue = Signal()
session_started = Signal()
session_refreshed = Signal()
session_ended = Signal()
session_limit_reached = Signal()
refresh_token_reused = Signal()
