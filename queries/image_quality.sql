-- Which images are dark, bright, blurred, blank, or otherwise odd as pictures?
--
-- Overlays:
--   quality  `shardtools quality DATASET`
-- Parameters:
--   $problem (text, default none)  only images with this one: dark, blurred, ...
--   $dark (number, default 0.1)  dark: a mean brightness below this, 0 to 1
--   $bright (number, default 0.9)  bright: a mean brightness above this
--   $flat (number, default 0.04)  low contrast: a standard deviation of brightness below this, 0 to 0.5
--   $blurred (number, default 0.1)  blurred: even the sharpest sixteenth of the picture has less detail than this
--   $blank (number, default 0.015)  blank: colours spread less than this about one colour, 0 to 1
--   $entropy (number, default 3)  low information: fewer bits than this in the histogram of brightness, 0 to 8
--   $aspect (number, default 3)  odd shape: one side more than this many times the other
-- Returns:
--   dataset       address of the dataset, as it was given
--   key           the image
--   split         its split
--   wnid          its class name
--   brightness    mean, 0 to 1
--   contrast      standard deviation of brightness, 0 to 0.5
--   sharpest      detail of the sharpest sixteenth
--   entropy       bits, 0 to 8
--   saturation    mean, 0 to 1
--   aspect        longer side over the shorter one
--   mode          pixel layout; odd where it is not the dataset's most frequent one
--   reason        why the image could not be measured
--   problems      blank, dark, bright, low contrast, blurred, low information, odd shape, gray, odd mode, undecodable

with images as (
    select
        quality.*,
        samples.split,
        samples.wnid,
        samples.mode,
        greatest(samples.width, samples.height) / nullif(least(samples.width, samples.height), 0) as aspect,
        mode(samples.mode) over (partition by samples.dataset) as usual_mode,
        median(quality.saturation) over (partition by samples.dataset) as usual_saturation
    from overlays.quality as quality
    inner join samples on quality.dataset = samples.dataset and quality.key = samples.key
),

judged as (
    select
        dataset,
        key,
        split,
        wnid,
        brightness,
        contrast,
        sharpest,
        entropy,
        saturation,
        aspect,
        mode,
        reason,
        list_filter(
            [
                case when status <> 'ok' then status end,
                case when color_spread < $blank then 'blank' end,
                case when brightness < $dark then 'dark' end,
                case when brightness > $bright then 'bright' end,
                case when contrast < $flat then 'low contrast' end,
                case when sharpest < $blurred then 'blurred' end,
                case when entropy < $entropy then 'low information' end,
                case when aspect > $aspect then 'odd shape' end,
                case when saturation < 0.01 and usual_saturation > 0.05 then 'gray' end,
                case when mode <> usual_mode then 'odd mode' end
            ],
            lambda problem: problem is not null
        ) as problems
    from images
),

chosen as (
    select *
    from judged
    where len(problems) > 0 and ($problem::text is null or list_contains(problems, $problem))
),

ordered as (
    select *
    from chosen
    order by len(problems) desc, dataset asc, key asc
)

select * from ordered
