"""Cases from the field: small inputs on which people of this trade were let down, against a daemon that runs."""
