-- dialect: sqlite

create table stock (
    article  text primary key,
    received integer not null,
    reserved integer not null,
    shipped  integer not null
) strict;

-- on shop.stock.received
-- require: count
insert into stock values ($entity, :count, 0, 0) on conflict do update set received = received + :count;

-- on shop.stock.reserved
-- require: count
update stock set reserved = reserved + :count where article = $entity;

-- on shop.stock.released
-- require: count
update stock set reserved = reserved - :count where article = $entity;

-- on shop.stock.shipped
-- require: count
update stock set reserved = reserved - :count, shipped = shipped + :count where article = $entity;
