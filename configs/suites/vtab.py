# The 19 tasks of VTAB-1k on ViT-B/16, beside Table 3 of GPS (arXiv:2312.10136). For a GPU. The
# paper's abstract and Table 3 give the mean of the 19 tasks, others the mean of the three groups;
# both are named.
_base_ = '../_base_/suites/published.py'
title = 'VTAB-1k, ViT-B/16'
_natural = {
    'vtab-cifar': 'CIFAR-100',
    'vtab-caltech101': 'Caltech101',
    'vtab-dtd': 'DTD',
    'vtab-flowers102': 'Flowers102',
    'vtab-pets': 'Pets',
    'vtab-svhn': 'SVHN',
    'vtab-sun397': 'Sun397',
}
_specialized = {
    'vtab-camelyon': 'Patch Camelyon',
    'vtab-eurosat': 'EuroSAT',
    'vtab-resisc45': 'Resisc45',
    'vtab-retinopathy': 'Retinopathy',
}
_structured = {
    'vtab-clevr-count': 'Clevr/count',
    'vtab-clevr-dist': 'Clevr/distance',
    'vtab-dmlab': 'DMLab',
    'vtab-kitti': 'KITTI/distance',
    'vtab-dsprites-loc': 'dSprites/loc',
    'vtab-dsprites-ori': 'dSprites/ori',
    'vtab-smallnorb-azi': 'SmallNORB/azi',
    'vtab-smallnorb-ele': 'SmallNORB/ele',
}
data = {name: dict() for name in {**_natural, **_specialized, **_structured}}
models = {'vit-b16': dict(config='classification/gps_vit-b16_{data}.py')}
means = {
    'mean of 19 tasks': list({**_natural, **_specialized, **_structured}),
    'Natural (7)': list(_natural),
    'Specialized (4)': list(_specialized),
    'Structured (8)': list(_structured),
    'mean of 3 groups': ['Natural (7)', 'Specialized (4)', 'Structured (8)'],
}
published = [
    dict(
        name='table3_vtab',
        data={**_natural, **_specialized, **_structured},
        means={'mean of 19 tasks': 'VTAB-1k mean of 19'},
    )
]
del _natural, _specialized, _structured
