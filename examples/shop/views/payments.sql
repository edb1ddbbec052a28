-- dialect: sqlite

create table payments (
    id        text primary key,
    for_order text not null,
    cents     integer not null,
    receipts  integer not null,
    refunded  integer not null
) strict;

-- on shop.payment.paid
-- require: order, cents
insert into payments values ($entity, :order, :cents, 0, 0);

-- on shop.payment.receipt-sent
update payments set receipts = receipts + 1 where id = $entity;

-- on shop.payment.refunded
update payments set refunded = refunded + cents where id = $entity;
