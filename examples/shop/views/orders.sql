-- dialect: sqlite

create table orders (
    id      text primary key,
    article text not null,
    count   integer not null,
    cents   integer not null,
    status  text not null,
    reason  text
) strict;

-- on shop.order.placed
-- require: article, count, cents
insert into orders values ($entity, :article, :count, :cents, 'placed', null);

-- on shop.order.shipped
update orders set status = 'shipped' where id = $entity;

-- on shop.order.cancelled
-- require: reason
update orders set status = 'cancelled', reason = :reason where id = $entity;
