# Trained on Kvasir-SEG, tested on the polyps of other hospitals too, which no training has seen.
# Each folder below GPS_SEG_DATA has images/ and masks/ of equal stems.
_base_ = './kvasir-tiny.py'
title = 'Trained on Kvasir-SEG, tested elsewhere'
_other = {'dataset.spec': None, 'dataset.split': None, 'dataset.masks': 'masks/*'}
data = dict(
    kvasir_seg=dict(
        tests={
            name: {**_other, 'dataset.root': folder, 'dataset.images': 'images/*'}
            for name, folder in {
                'CVC-ClinicDB': 'CVC-ClinicDB',
                'CVC-ColonDB': 'CVC-ColonDB',
                'ETIS': 'ETIS-LaribPolypDB',
            }.items()
        }
    )
)
del _other
