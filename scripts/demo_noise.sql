-- 2,000 photographs, of which every twentieth gets the label of another class on purpose.
with numbered as (
    select
        key,
        class_index,
        row_number() over (order by md5(key)) as n
    from samples
)

select
    key,
    case when n % 20 = 0 then (class_index + 1 + n // 20 % 9) % 10 end as class_index,
    case when n % 20 = 0 then 'planted' end as reason
from numbered
where n <= 2000
